//! Who may sign the certificates of servers that are asked by HTTP.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// TLS that trusts the authorities in the file at `path` (PEM), or those that browsers trust. An error says which file it is, and what
/// is wrong with it.
pub(crate) fn authorities(path: Option<&Path>) -> Result<TlsConfig, String> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = path {
        let wrong = |why: &str| format!("{}: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
        let mut authorities: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&text) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error.to_string()))? {
                authorities.push(certificate);
            }
        }
        if authorities.is_empty() {
            return Err(wrong("it has no certificate (PEM)"));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&authorities));
    }
    Ok(tls.build())
}
