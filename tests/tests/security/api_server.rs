//! An API server whose certificate is not accepted: said with what to mend, and read as soon as that is mended.

use std::sync::Arc;
use std::time::Duration;

use epicenter_bus::{Bus, LocalConfig};
use epicenter_exporter::project::Kind;
use epicenter_exporter::{ExporterConfig, Fleet, Origin, choose_cryptography};
use epicenter_model::Codec;
use epicenter_runtime::{Health, Metrics, Traces, system_clock};
use epicenter_tests::certificates::{Authority, Certificate, Validity};
use epicenter_tests::generated::Generated;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::site::until;

/// Shows `certificate` to those who come, and lets them through to the server at `behind`. Gives its own port.
async fn guard(certificate: &Certificate, behind: u16) -> u16 {
    let shown = CertificateDer::from_pem_slice(certificate.pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![shown], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not accept the certificate goes.
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ended = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

fn kubeconfig(host: &str, port: u16, authority: &Authority) -> String {
    let authority = data_encoding::BASE64.encode(authority.pem().as_bytes());
    format!(
        "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}], clusters: \
         [{{name: c, cluster: {{server: \"https://{host}:{port}\", certificate-authority-data: {authority}}}}}]}}"
    )
}

#[test]
fn a_certificate_that_is_not_accepted_is_told_and_mended_while_it_runs() {
    choose_cryptography();
    let directory = tempfile::tempdir().unwrap();
    let clusters = directory.path().join("clusters");
    std::fs::create_dir(&clusters).unwrap();
    let (parts, metrics, stop) = (Health::new(), Metrics::new("1"), CancellationToken::new());
    let local =
        LocalConfig { directory: directory.path().join("log"), partitions: 1, retention: Duration::from_secs(3600) };
    let exporter = ExporterConfig { objects: vec![Kind::Pod], retry_longest_ms: 500, ..ExporterConfig::default() };
    let log = epicenter_exporter::Log {
        bus: Bus::local(local).unwrap(),
        codec: Codec::single_object(),
        clock: system_clock(),
        traces: Traces::default(),
    };
    let (origins, poll) = (vec![Origin::Directory(clusters.clone())], Duration::from_millis(50));
    let fleet = Fleet { exporter, origins, poll, log, parts: parts.clone(), metrics: metrics.clone() };
    let put = |text: &str| {
        std::fs::write(clusters.join(".new"), text).unwrap();
        std::fs::rename(clusters.join(".new"), clusters.join("a.yaml")).unwrap();
    };
    let is_up = |up: u8| {
        let line = format!("epicenter_cluster_up{{cluster=\"a\"}} {up}");
        metrics.text().lines().any(|shown| shown == line).then_some(())
    };

    let (site, other) = (Authority::new("Site Authority").unwrap(), Authority::new("Another Authority").unwrap());
    let generated = Generated::start(1, 0).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shown = |validity| {
        let certificate = site.issue("kubernetes", "localhost", validity).unwrap();
        runtime.block_on(guard(&certificate, generated.port()))
    };
    let (good, expired) = (shown(Validity::Current), shown(Validity::Expired));
    let running = runtime.spawn(fleet.run(stop.clone()));
    let cases = [
        (kubeconfig("localhost", expired, &site), ["certificate expired", "renew the API server's certificate"]),
        (kubeconfig("127.0.0.1", good, &site), ["not valid for name", "set one as tls-server-name in the kubeconfig"]),
        (kubeconfig("localhost", good, &other), ["UnknownIssuer", "set certificate-authority in the kubeconfig"]),
    ];
    for (wrong, expected) in cases {
        put(&wrong);
        until(expected[0], || {
            let why = parts.report().remove("a/api-server").flatten()?;
            expected.iter().all(|said| why.contains(said)).then_some(())
        });
        until("it is down", || is_up(0));
        put(&kubeconfig("localhost", good, &site));
        until("it is up", || is_up(1));
    }
    stop.cancel();
    runtime.block_on(running).unwrap().unwrap();
}
