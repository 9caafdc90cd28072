//! Why a broker's certificate is refused: librdkafka only says that it is, so OpenSSL is asked once more.

use std::net::{Ipv4Addr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{GeneralNameRef, X509, X509Ref, X509VerifyResult};
use parking_lot::Mutex;

use super::KafkaConfig;

const LIMIT: Duration = Duration::from_secs(5);

/// Why it is refused, and how to mend that.
pub(super) struct Verdict {
    pub(super) why: String,
    pub(super) mend: String,
}

/// What OpenSSL says of the certificate of `broker` (`host:port`) under the authorities that `config` trusts; `None` when
/// it finds nothing, or the broker cannot be asked.
pub(super) fn verdict(config: &KafkaConfig, broker: &str) -> Option<Verdict> {
    let (host, _) = broker.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let found = Arc::new(Mutex::new(None));
    let context = context(config).ok()?;
    let mut ssl = Ssl::new(&context).ok()?;
    expect(&mut ssl, host).ok()?;
    let seen = Arc::clone(&found);
    ssl.set_verify_callback(SslVerifyMode::PEER, move |fine, chain| {
        if !fine {
            let about = chain.current_cert().map(ToOwned::to_owned);
            seen.lock().get_or_insert((chain.error(), about));
        }
        fine
    });
    let stream = connect(broker, LIMIT)?;
    // Its outcome is what the callback saw.
    let _ = ssl.connect(stream);
    let (error, about) = found.lock().take()?;
    Some(tell(broker, host, error, about.as_deref()))
}

/// A connection to `broker` (`host:port`), whose answers are waited for so long.
pub(super) fn connect(broker: &str, limit: Duration) -> Option<TcpStream> {
    let stream = broker.to_socket_addrs().ok()?.find_map(|address| TcpStream::connect_timeout(&address, LIMIT).ok())?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    Some(stream)
}

/// What is trusted.
pub(super) fn context(config: &KafkaConfig) -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    let property = |name: &str| config.properties.get(name).map(String::as_str);
    match (property("ssl.ca.pem"), property("ssl.ca.location").filter(|location| *location != "probe")) {
        (Some(pem), _) => {
            for authority in X509::stack_from_pem(pem.as_bytes())? {
                context.cert_store_mut().add_cert(authority)?;
            }
        }
        (None, Some(file)) => context.load_verify_locations(Some(file.as_ref()), None)?,
        (None, None) => {
            let found = openssl_probe::probe();
            context.load_verify_locations(found.cert_file.as_deref(), found.cert_dir.first().map(AsRef::as_ref))?;
        }
    }
    Ok(context.build())
}

/// The name that the certificate must be for.
pub(super) fn expect(ssl: &mut Ssl, host: &str) -> Result<(), ErrorStack> {
    ssl.set_hostname(host)?;
    let expected = ssl.param_mut();
    expected.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
    match host.parse() {
        Ok(address) => expected.set_ip(address),
        Err(_) => expected.set_host(host),
    }
}

fn tell(broker: &str, host: &str, error: X509VerifyResult, about: Option<&X509Ref>) -> Verdict {
    let of = format!("the certificate of {broker}");
    // The numbers are those of x509_vfy.h.
    match (error.as_raw(), about) {
        (10, Some(certificate)) => Verdict {
            why: format!("{of} expired on {}", certificate.not_after()),
            mend: "Give the broker a new one; this client connects again by itself".to_owned(),
        },
        (9, Some(certificate)) => Verdict {
            why: format!("{of} is not valid before {}", certificate.not_before()),
            mend: "Check the clocks of this machine and of the one that signed it".to_owned(),
        },
        (62 | 64, Some(certificate)) => Verdict {
            why: format!("{of} is for {}, not for {host}", names(certificate)),
            mend: format!(
                "Name the broker as its certificate does in bus.kafka.bootstrap and in its advertised.listeners, or give it a \
                 certificate for {host}"
            ),
        },
        (2 | 18..=21, Some(certificate)) => Verdict {
            why: format!("{of} is signed by {}, which is not trusted here", issuer(certificate)),
            mend: "Set ssl.ca.location, or the secret ssl.ca.pem, to the certificate of the authority that signs the brokers'"
                .to_owned(),
        },
        _ => Verdict {
            why: format!("{of} is refused: {}", error.error_string()),
            mend: "Check ssl.ca.location, or the secret ssl.ca.pem, and the broker's certificate".to_owned(),
        },
    }
}

fn names(certificate: &X509Ref) -> String {
    let alternatives = certificate.subject_alt_names();
    let name = |name: &GeneralNameRef| {
        let address = || <[u8; 4]>::try_from(name.ipaddress()?).ok().map(|bytes| Ipv4Addr::from(bytes).to_string());
        name.dnsname().map(str::to_owned).or_else(address)
    };
    let names: Vec<_> = alternatives.iter().flat_map(|names| names.iter()).filter_map(name).collect();
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

fn issuer(certificate: &X509Ref) -> String {
    let names = certificate.issuer_name().entries();
    let names: Vec<_> = names.filter_map(|entry| entry.data().to_string().ok()).collect();
    names.join(", ")
}
