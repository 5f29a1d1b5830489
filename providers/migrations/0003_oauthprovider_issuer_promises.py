"""Remember what an issuer's metadata promised.

Old code leaves the column out of its inserts, which a database without a default for it refuses: stop it first.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0002_oauthprovider_preset_parameters")]

    operations = [
        migrations.AddField(
            model_name="oauthprovider",
            name="issuer_promises",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
    ]
