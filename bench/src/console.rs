//! The console with many incidents open, and many browsers that listen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use epicenter_bus::{Bus, LocalConfig};
use epicenter_console::{Board, Console, ConsoleConfig};
use epicenter_intake::Intake;
use epicenter_model::{Because, Codec, Incident, Member, MemberObject, ObjectRef, Severity};
use epicenter_rules::RuleSet;
use epicenter_runtime::Health;
use epicenter_tests::process::memory;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::report::{Report, median, thousands};

/// A word that has not come by then never does.
const LIMIT: Duration = Duration::from_secs(60);
/// Members of each incident: as many as a document has.
const MEMBERS: usize = 50;

/// What is to be measured.
#[derive(clap::Args)]
pub struct Asked {
    /// Incidents that are open
    #[arg(long, default_value_t = Asked::default().incidents)]
    incidents: usize,
    /// Browsers that listen
    #[arg(long, default_value_t = Asked::default().browsers)]
    browsers: usize,
    /// Times that each page is asked for
    #[arg(long, default_value_t = Asked::default().times)]
    times: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self { incidents: 10_000, browsers: 500, times: 100 }
    }
}

/// Measures, and adds the table.
pub fn measure(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(report, asked))
}

async fn run(report: &mut Report, asked: &Asked) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let log = LocalConfig { directory: directory.path().to_owned(), partitions: 1, retention: Duration::MAX };
    let (bus, codec, token) = (Bus::local(log)?, Codec::single_object(), CancellationToken::new());
    let before = memory(std::process::id())?;
    let board = Board::new(codec.clone());
    for number in 0..asked.incidents {
        put(&board, &codec, number, 1)?;
    }
    let held = memory(std::process::id())?.saturating_sub(before);
    let console = Console {
        board: board.clone(),
        intake: Intake::new(bus, codec.clone()),
        past: None,
        rules: RuleSet::builtin().causal,
        health: Health::new(),
        user: String::new(),
        clock: epicenter_runtime::system_clock(),
    };
    let serve = epicenter_console::serve(&ConsoleConfig::default(), &[], console, token.clone()).await?;
    let address = serve.address();
    let serving = tokio::spawn(serve.run());
    let mut rows = String::new();
    let pages = [
        ("open incidents, the first page", "/"),
        ("the last page", "/?page=100"),
        ("by namespace and text", "/?namespace=team-7&text=cannot"),
        ("an incident with its tree and timeline", "/incidents/epc-0000000042"),
    ];
    for (what, path) in pages {
        let (p50, p95, most, size) = asked_for(address, path, asked.times).await?;
        rows += &format!("\n| {what} | {p50:.1} | {p95:.1} | {most:.1} | {} |", size / 1024);
    }
    let (first, last) = words(address, &board, &codec, asked).await?;
    let (while_they_listen, ..) = asked_for(address, "/", asked.times).await?;
    token.cancel();
    serving.await??;
    let body = format!(
        "{} incidents are open, of {MEMBERS} members each, which take {} MiB. Pages over HTTP on loopback, {} times each, ms.\n\n\
         | page | median | 95 % | most | KiB |\n|---|---|---|---|---|{rows}\n\n\
         {} browsers listen. From a change until the first has heard of it: {first:.0} ms, until the last: {last:.0} ms; the first page \
         then takes {while_they_listen:.1} ms.",
        thousands(asked.incidents as f64),
        held / 1024 / 1024,
        asked.times,
        asked.browsers,
    );
    report.section("Console", &body);
    Ok(())
}

fn put(board: &Board, codec: &Codec, number: usize, version: i64) -> anyhow::Result<()> {
    let (namespace, now) = (format!("team-{}", number % 50), epicenter_runtime::now());
    let member = |index: usize| Member {
        event_uid: format!("{number}-{index}"),
        namespace: namespace.clone(),
        name: format!("web-{index}.17f"),
        reason: "FailedMount".into(),
        regarding: MemberObject {
            kind: "Pod".into(),
            namespace: namespace.clone(),
            name: format!("web-7c9f6d-{index}"),
        },
        role: if index == 0 { "root" } else { "symptom" }.into(),
        occurrences: 3,
        because: (index > 0).then(|| Because {
            rule: "node-down.eviction".into(),
            parent: format!("{number}-{}", (index - 1) / 4),
            lag_ms: 2_000,
            score: 0.8,
        }),
    };
    let mut incident = Incident {
        id: format!("epc-{number:010}"),
        version,
        cluster: format!("cluster-{}", number % 20),
        severity: Severity::ALL[number % Severity::ALL.len()],
        title: format!("Pod web-{number} cannot start: its volume is not there"),
        explanation: vec!["Claim data of pod web names storage class fast, which does not exist.".into(); 3],
        opened_at: now.plus_millis(-(number as i64) * 1_000),
        last_event_at: now,
        members: (0..MEMBERS).map(member).collect(),
        ..Incident::default()
    };
    incident.cause.class = "volume.storage_class_missing".into();
    incident.cause.object = ObjectRef::named("StorageClass", "", "fast");
    incident.impact.namespaces = vec![namespace];
    let key = format!("{}/{}", incident.cluster, incident.id);
    Ok(board.incident_row(key.as_bytes(), Some(&codec.encode(&incident)?))?)
}

/// Median, 95th percentile and most of the times that a page takes, ms; and its size, bytes.
async fn asked_for(address: SocketAddr, path: &str, times: usize) -> anyhow::Result<(f64, f64, f64, usize)> {
    let (mut figures, mut size) = (Vec::new(), 0);
    for _ in 0..times.max(1) {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        figures.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
        size = answer.len();
    }
    let middle = median(figures.clone());
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| figures[((figures.len() - 1) as f64 * share).round() as usize];
    Ok((middle, at(0.95), at(1.0), size))
}

/// From a change until the first and the last browser have heard of it, ms.
async fn words(address: SocketAddr, board: &Board, codec: &Codec, asked: &Asked) -> anyhow::Result<(f64, f64)> {
    let all_listen = Arc::new(Barrier::new(asked.browsers + 1));
    let (heard, mut listening) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
    for _ in 0..asked.browsers {
        let (all_listen, heard) = (Arc::clone(&all_listen), Arc::clone(&heard));
        listening.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
            until(&mut stream, "event: hello").await?;
            all_listen.wait().await;
            until(&mut stream, "event: change").await?;
            heard.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(Instant::now())
        });
    }
    tokio::time::timeout(LIMIT, all_listen.wait()).await.context("not every browser could listen")?;
    // Whoever has just been told is not told again within a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    put(board, codec, 1, 2)?;
    let mut times = Vec::new();
    while let Some(browser) =
        tokio::time::timeout(LIMIT, listening.join_next()).await.context("not every browser heard")?
    {
        times.push((browser?? - began).as_secs_f64() * 1e3);
    }
    ensure!(heard.load(Ordering::Relaxed) == asked.browsers, "some browsers heard nothing");
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    Ok((first, times.iter().copied().fold(0.0, f64::max)))
}

async fn until(stream: &mut TcpStream, word: &str) -> anyhow::Result<()> {
    let (mut said, mut buffer) = (String::new(), [0; 1024]);
    while !said.contains(word) {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "a stream ended: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    Ok(())
}
