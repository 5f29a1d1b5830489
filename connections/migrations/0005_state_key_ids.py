# Old and new code can run side by side. Not one transaction: rows are locked in chunks of 500, and a migration that was
# cut off goes on where it was. What opens under none of FERNET_KEYS is stated as unreadable.

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from vault import rows


def state(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("ConsentRequest", "DeviceRequest"):
        rows.state_unknown(apps.get_model("connections", name))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("connections", "0004_key_ids")]
    operations = [migrations.RunPython(state, migrations.RunPython.noop)]
