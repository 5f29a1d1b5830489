"""Old code does not know the table and runs beside it; new code needs it."""

import uuid
import vault.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='DeviceRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('user_id', models.BigIntegerField()),
                ('provider_uid', models.UUIDField()),
                ('provider_fingerprint', models.CharField(max_length=64)),
                ('scopes', models.JSONField(default=list)),
                ('device_code', vault.fields.SealedTextField(editable=False, null=True)),
                ('user_code', vault.fields.SealedTextField(editable=False, null=True)),
                ('verification_uri', models.CharField(max_length=2000)),
                ('verification_uri_complete', vault.fields.SealedTextField(editable=False, null=True)),
                ('interval', models.FloatField()),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('next_poll_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('pending', 'Waiting'), ('connected', 'Connected'), ('denied', 'Denied'), ('expired', 'Expired'), ('failed', 'Failed')], default='pending', max_length=16)),
                ('reason', models.CharField(blank=True, max_length=64)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['state', 'next_poll_at'], name='device_requests_to_poll')],
                'constraints': [models.UniqueConstraint(fields=('user_id', 'provider_uid'), name='one_device_request_per_connection')],
            },
        ),
    ]
