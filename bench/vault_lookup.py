"""What a usable token costs a call: from the database and opened (cold), and remembered by the process (warm).

As ratios to reading the same row by its key and nothing else, in a vault of 1,000, 10,000 and 100,000 entries.
"""

import asyncio
import sys

from bench import _vault

SIZES = (1_000, 10_000, 100_000)
LOOKUPS = 300
WARM_LOOKUPS = 20_000


def measure() -> None:
    """Print a row per size."""
    from connections.tokens import usable_token
    from mcpservers.dataplane import credentials
    from mcpservers.dataplane.routing import Caller, plan_of
    from mcpservers.models import MCPServer
    from providers.models import OAuthProvider
    from vault.models import VaultEntry

    print(f"{'entries':>9}{'row, ms':>9}{'cold, ms':>10}{'ratio':>7}{'warm, ms':>10}{'ratio':>7}{'peak MB':>9}")
    for size in _vault.sizes(SIZES):
        _vault.fill(size, LOOKUPS)
        provider = OAuthProvider.objects.get()
        VaultEntry.objects.update(expires_at="2100-01-01T00:00Z", refresh_due_at=None)
        opened = list(VaultEntry.objects.order_by("pk").values_list("pk", "user_id")[:LOOKUPS])
        server = MCPServer(name="bench", url="https://mcp.example.com/mcp", provider_uid=provider.uid)
        server.auth = {"mode": "user_oauth", "provider_name": "bench", "required_scopes": []}
        plan, caller = plan_of(server), Caller(opened[0][1], "user-0")

        def rows(opened: list[tuple[int, int]] = opened) -> None:
            for pk, _ in opened:
                VaultEntry.objects.get(pk=pk)

        def cold(opened: list[tuple[int, int]] = opened, provider: OAuthProvider = provider) -> None:
            for _, user_id in opened:
                usable_token(user_id=user_id, provider_uid=provider.uid, scopes=[])

        async def warm(plan: object = plan, caller: Caller = caller) -> None:
            await credentials.resolve(plan, caller)  # type: ignore[arg-type]
            for _ in range(WARM_LOOKUPS):
                await credentials.resolve(plan, caller)  # type: ignore[arg-type]

        rows()
        row = _vault.seconds(rows) / LOOKUPS * 1000
        fresh = _vault.seconds(cold) / LOOKUPS * 1000
        kept = _vault.seconds(lambda warm=warm: asyncio.run(warm())) / WARM_LOOKUPS * 1000
        print(
            f"{size:>9,}{row:>9.3f}{fresh:>10.3f}{fresh / row:>7.1f}{kept:>10.4f}{kept / row:>7.3f}"
            f"{_vault.peak_megabytes():>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
