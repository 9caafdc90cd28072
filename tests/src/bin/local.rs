//! One process of an embedded installation, for the fault tests: `local run DIRECTORY` writes records as a source and
//! counts them, until it is killed; `local full-disk DIRECTORY` fills the disk under the log and frees it again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use epicenter_bus::{Bus, Emit, Fault, LocalConfig, Start, Stop};
use epicenter_tests::counting::{Counter, INPUT, spec};

const KEYS: u64 = 100;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", directory] => run(&open(Path::new(directory))?),
        ["full-disk", directory] => full_disk(Path::new(directory)),
        _ => bail!("usage: local run|full-disk DIRECTORY"),
    }
}

fn open(directory: &Path) -> anyhow::Result<Bus> {
    let config =
        LocalConfig { directory: directory.join("log"), partitions: 1, retention: Duration::from_secs(86_400) };
    Ok(Bus::local(config)?)
}

fn batch(first: u64, count: u64) -> Vec<Emit> {
    let emit = |n: u64| Emit {
        topic: INPUT,
        timestamp: n as i64,
        key: (n % KEYS).to_string().into(),
        payload: Some("x".into()),
        headers: vec![],
    };
    (first..first + count).map(emit).collect()
}

fn run(bus: &Bus) -> anyhow::Result<()> {
    let (mut source, positions) = bus.source("writer", 0, b"n")?;
    let position = positions.get(&b"n"[..]).map_or(Ok(0), |value| String::from_utf8_lossy(value).parse())?;
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| bus.run(&spec(), Counter::default, &|_, _, _| {}, &stop));
        let mut n: u64 = position;
        while !counting.is_finished() {
            let count = 1 + n % 97;
            source.commit(&batch(n, count), &[(b"n".to_vec(), (n + count).to_string().into_bytes())])?;
            n += count;
        }
        counting.join().expect("the kernel does not panic")?;
        Ok(())
    })
}

fn full_disk(directory: &Path) -> anyhow::Result<()> {
    let bus = open(directory)?;
    let (mut source, _) = bus.source("writer", 0, b"n")?;
    let ballast = directory.join("ballast");
    let mut n = 0;
    source.commit(&batch(n, 10), &[])?;
    n += 10;
    fill(&ballast)?;
    let (count, fault) = loop {
        match source.commit(&batch(n, 1000), &[]) {
            Ok(()) => n += 1000,
            Err(fault) => break (1000, fault),
        }
        ensure!(n < 10_000_000, "the disk does not fill");
    };
    println!("full: {fault}");
    ensure!(matches!(fault, Fault::Retry { .. }), "a full disk passes");
    ensure!(source.commit(&batch(n, count), &[]).is_err(), "it is still full");
    fs::remove_file(&ballast)?;
    let mut tries = 0;
    while let Err(fault) = source.commit(&batch(n, count), &[]) {
        tries += 1;
        ensure!(tries < 50, "it does not recover: {fault}");
        std::thread::sleep(Duration::from_millis(100));
    }
    n += count;
    let mut reader = bus.reader(INPUT, &[0], Start::Earliest)?;
    for expected in 0..n {
        let record = reader.next(Duration::from_secs(5))?.context("a record is missing")?;
        ensure!(record.timestamp == expected as i64, "record {} where {expected} belongs", record.timestamp);
    }
    ensure!(reader.next(Duration::from_millis(100))?.is_none(), "there is a record too many");
    println!("whole: {n} records");
    Ok(())
}

/// Leaves no more than a few pages.
fn fill(ballast: &Path) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(ballast)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}
