"""What a list of servers can be narrowed by."""

from django_filters.rest_framework import ChoiceFilter

from clients.api.strict import NamedFilter, YesNoFilter
from mcpservers.models import ConsentDelivery, Kind, Transport


class ServerFilter(NamedFilter):
    """Exact filters on the enumerated fields."""

    kind = ChoiceFilter(choices=Kind.choices)
    transport = ChoiceFilter(choices=Transport.choices)
    consent_delivery = ChoiceFilter(choices=ConsentDelivery.choices)
    enabled = YesNoFilter()
