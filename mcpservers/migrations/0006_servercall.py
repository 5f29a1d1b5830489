# Old and new code can run side by side: old code does not know the table, and its calls leave no rows.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mcpservers', '0005_tool_policy'),
    ]

    operations = [
        migrations.CreateModel(
            name='ServerCall',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('server_uid', models.UUIDField()),
                ('user_id', models.BigIntegerField()),
                ('request_id', models.CharField(max_length=32)),
                ('method', models.CharField(max_length=64)),
                ('tool', models.CharField(max_length=128)),
                ('outcome', models.CharField(max_length=16)),
                ('status', models.PositiveSmallIntegerField()),
                ('milliseconds', models.FloatField()),
                ('upstream_milliseconds', models.FloatField()),
                ('bytes_in', models.BigIntegerField()),
                ('bytes_out', models.BigIntegerField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [
                    models.Index(fields=['server_uid', 'at'], name='calls_of_server'),
                    models.Index(fields=['server_uid', 'user_id', 'at'], name='calls_of_user'),
                ],
            },
        ),
    ]
