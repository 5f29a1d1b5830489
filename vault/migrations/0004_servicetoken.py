# Old and new code can run side by side: a new table, which old code does not know.

import vault.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vault', '0003_pendingrevocation_settled_as'),
    ]

    operations = [
        migrations.CreateModel(
            name='ServiceToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('server_uid', models.UUIDField(unique=True)),
                ('provider_uid', models.UUIDField(blank=True, db_index=True, null=True)),
                ('provider_fingerprint', models.CharField(blank=True, max_length=64)),
                ('fingerprint', models.CharField(blank=True, max_length=64)),
                ('access_token', vault.fields.SealedTextField(editable=False, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('obtained_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('refresh_due_at', models.DateTimeField(blank=True, db_index=True, null=True)),
                ('rejected_at', models.DateTimeField(blank=True, null=True)),
                ('generation', models.BigIntegerField(default=1)),
                ('lease_holder', models.CharField(blank=True, max_length=64)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('retry_at', models.DateTimeField(blank=True, null=True)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('last_error', models.CharField(blank=True, max_length=64)),
                ('is_refused', models.BooleanField(default=False)),
            ],
            options={
                'default_permissions': (),
            },
        ),
    ]
