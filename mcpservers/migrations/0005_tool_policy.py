# Old and new code can run side by side: old code does not read these tables, so a policy holds once the last old process
# is gone. Until then an old process cannot delete a server that has a policy.

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('mcpservers', '0004_state_key_ids'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ToolPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('on_change', models.CharField(choices=[('warn', 'Warn'), ('hold', 'Hold for review')], default='warn', max_length=8)),
                ('allow', models.JSONField(blank=True, default=list)),
                ('deny', models.JSONField(blank=True, default=list)),
                ('approved', models.JSONField(editable=False, null=True)),
                ('asked_as', models.BigIntegerField(editable=False, null=True)),
                ('due_at', models.DateTimeField(db_index=True, editable=False, null=True)),
                ('failures', models.PositiveIntegerField(default=0, editable=False)),
                ('discovery_user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('server', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='tool_policy', to='mcpservers.mcpserver')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='GroupToolPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('allow', models.JSONField(blank=True, default=list)),
                ('deny', models.JSONField(blank=True, default=list)),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth.group')),
                ('server', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='group_tool_policies', to='mcpservers.mcpserver')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('server', 'group'), name='one_tool_policy_per_group')],
            },
        ),
    ]
