# Old and new code can run side by side, with the same FERNET_KEYS: what old code inserts states no keys until the next
# `rotate_vault_keys`. Adds empty columns and indexes: at 100,000 rows the tables are locked for a fraction of a second.

import vault.rows
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vault', '0004_servicetoken'),
    ]

    operations = [
        migrations.AddField(
            model_name='keycheck',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='pendingrevocation',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='secret',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='servicetoken',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='vaultentry',
            name='key_ids',
            field=vault.rows.KeyIdsField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='pendingrevocation',
            index=models.Index(fields=['key_ids', 'id'], name='revocations_by_key'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['key_ids', 'id'], name='secrets_by_key'),
        ),
        migrations.AddIndex(
            model_name='servicetoken',
            index=models.Index(fields=['key_ids', 'id'], name='service_tokens_by_key'),
        ),
        migrations.AddIndex(
            model_name='vaultentry',
            index=models.Index(fields=['key_ids', 'id'], name='entries_by_key'),
        ),
    ]
