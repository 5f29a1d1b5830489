# Old and new code can run side by side, with the same FERNET_KEYS: what old code inserts states no keys until the next
# `rotate_vault_keys`. Adds empty columns and indexes: at 100,000 rows the tables are locked for a fraction of a second.

import vault.rows
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mcpservers', '0002_mcpsession'),
    ]

    operations = [
        migrations.AddField(
            model_name='mcpsession',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='mcpsession',
            index=models.Index(fields=['key_ids', 'id'], name='sessions_by_key'),
        ),
    ]
