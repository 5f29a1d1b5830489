"""Make the three groups of contract §5 with their permissions. Old code does not mind the new rows."""

from django.db import migrations

ACTIONS = {
    ("providers", "oauthprovider"): ("add", "view", "change", "delete", "attach"),
    ("mcpservers", "mcpserver"): ("add", "view", "change", "delete", "use"),
    ("vault", "secret"): ("add", "view", "change", "delete", "use"),
}
GROUPS = {
    "admins": ACTIONS,
    "mcp-editors": {("mcpservers", "mcpserver"): ("add", "view", "change", "delete", "use")},
    "members": {("mcpservers", "mcpserver"): ("view", "use")},
}
NOUNS = {"oauthprovider": "OAuth provider", "mcpserver": "MCP server", "secret": "secret"}


def make_groups(apps, schema_editor):
    ContentType = apps.get_model("contenttypes", "ContentType")
    Permission = apps.get_model("auth", "Permission")
    Group = apps.get_model("auth", "Group")
    for group_name, rights in GROUPS.items():
        group, _ = Group.objects.get_or_create(name=group_name)
        for (app, model), actions in rights.items():
            content_type, _ = ContentType.objects.get_or_create(app_label=app, model=model)
            for action in actions:
                permission, _ = Permission.objects.get_or_create(
                    content_type=content_type,
                    codename=f"{action}_{model}",
                    defaults={"name": f"Can {action} {NOUNS[model]}"},
                )
                group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("clients", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("vault", "0001_initial"),
        ("providers", "0001_initial"),
        ("mcpservers", "0001_initial"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
