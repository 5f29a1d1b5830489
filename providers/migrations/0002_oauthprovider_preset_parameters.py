# Old code leaves the column out of its inserts, which a database without a default for it refuses: stop it first.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='oauthprovider',
            name='preset_parameters',
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
