# Old and new code can run side by side: the column has a default in the database.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vault', '0002_renewal'),
    ]

    operations = [
        migrations.AddField(
            model_name='pendingrevocation',
            name='settled_as',
            field=models.CharField(blank=True, db_default='', default='', max_length=16),
        ),
    ]
