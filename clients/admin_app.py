"""Django's admin app on the gateway's own site, in place of `django.contrib.admin`."""

from django.contrib.admin.apps import AdminConfig


class GatewayAdminConfig(AdminConfig):
    """Django's admin, `/admin/`."""

    default_site = "clients.admin_site.GatewayAdminSite"
