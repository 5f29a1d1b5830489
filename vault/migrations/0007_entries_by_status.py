# Old and new code can run side by side: indexes only. PostgreSQL holds up writes of connections while it builds them
# (under a second for 100,000).

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vault', '0006_state_key_ids'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='vaultentry',
            index=models.Index(condition=models.Q(('attention_reason', ''), _negated=True), fields=['attention_reason'], name='entries_needing_attention'),
        ),
        migrations.AddIndex(
            model_name='vaultentry',
            index=models.Index(condition=models.Q(('failing_since__isnull', False)), fields=['attention_reason'], name='entries_failing'),
        ),
        migrations.AddIndex(
            model_name='vaultentry',
            index=models.Index(condition=models.Q(('refresh_token__isnull', True)), fields=['attention_reason', 'expires_at'], name='entries_without_renewal'),
        ),
    ]
