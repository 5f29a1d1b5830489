# Old and new code can run side by side, with the same FERNET_KEYS: what old code inserts states no keys until the next
# `rotate_vault_keys`. Adds empty columns and indexes: at 100,000 rows the tables are locked for a fraction of a second.

import vault.rows
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0003_providerhealth'),
    ]

    operations = [
        migrations.AddField(
            model_name='consentrequest',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='devicerequest',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='consentrequest',
            index=models.Index(fields=['key_ids', 'id'], name='consents_by_key'),
        ),
        migrations.AddIndex(
            model_name='devicerequest',
            index=models.Index(fields=['key_ids', 'id'], name='device_requests_by_key'),
        ),
    ]
