"""A throwaway certificate authority for one run: its private key is never written down."""

from dataclasses import dataclass
from pathlib import Path

import trustme

from aigateway.demo.private_files import write_private


@dataclass(frozen=True)
class Certificates:
    """Where the certificates of one run lie."""

    ca_bundle: Path
    server: Path
    """Certificate chain and private key in one PEM file, mode 0600."""


def issue_certificates(folder: Path, *hosts: str) -> Certificates:
    """Make a new authority and let it issue one server certificate for these hosts."""
    authority = trustme.CA(organization_name="AI Gateway demo", organization_unit_name="Throwaway CA")
    certificates = Certificates(ca_bundle=folder / "demo-ca.pem", server=folder / "demo-server.pem")
    authority.cert_pem.write_to_path(str(certificates.ca_bundle))
    write_private(certificates.server, authority.issue_cert(*hosts).private_key_and_cert_chain_pem.bytes())
    return certificates
