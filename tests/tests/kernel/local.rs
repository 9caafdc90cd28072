//! The log in a directory: kill -9 at any moment, a log that lost its end, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, Emit, Fault, LocalConfig, Record, Start, Stop};
use epicenter_tests::counting::{Counter, INPUT, OUTPUT, spec};
use epicenter_tests::faults::Plan;
use epicenter_tests::process::Process;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const KEYS: u64 = 100;

fn open(directory: &Path) -> Result<Bus, Fault> {
    Bus::local(LocalConfig { directory: directory.join("log"), partitions: 1, retention: Duration::from_secs(86_400) })
}

fn start(mode: &str, directory: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.arg(mode).arg(directory);
    Process::spawn("local", &mut command, &directory.join("out")).unwrap()
}

fn read(bus: &Bus, topic: &'static str) -> Vec<Record> {
    let mut reader = bus.reader(topic, &[0], Start::Earliest).unwrap();
    std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap()).collect()
}

/// The journal that is written to: the one that changed last.
fn journal(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let journals = files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    journals.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// What a journal holds, without the zeros that are allocated ahead.
fn written(journal: &Path) -> u64 {
    let bytes = fs::read(journal).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn cut(journal: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(journal).unwrap().set_len(length).unwrap();
}

/// Input without hole or repetition, and the output that one undisturbed process makes of it.
fn assert_whole(directory: &Path, seed: u64) -> usize {
    let bus = open(directory).unwrap();
    let input = read(&bus, INPUT);
    for (n, record) in input.iter().enumerate() {
        assert_eq!(record.timestamp, n as i64, "input, seed {seed}");
    }
    // What was not yet counted when it was killed is counted now.
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| bus.run(&spec(), Counter::default, &|_, _, _| {}, &stop));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut outputs = bus.reader(OUTPUT, &[0], Start::Earliest).unwrap();
        for n in 0..input.len() as u64 {
            let record = outputs.next(Duration::from_secs(20)).unwrap().expect("a change is missing");
            let (key, count, keys) = (n % KEYS, n / KEYS + 1, (n + 1).min(KEYS));
            assert_eq!(record.key, key.to_string().into_bytes(), "change {n}, seed {seed}");
            let change = format!("{count}@{n} of {keys}");
            assert_eq!(String::from_utf8_lossy(record.payload.as_ref().unwrap()), change, "seed {seed}");
            assert!(Instant::now() < deadline);
        }
        assert_eq!(outputs.next(Duration::from_millis(200)).unwrap(), None, "a change too many, seed {seed}");
        stop.request();
        counting.join().unwrap().unwrap();
    });
    input.len()
}

#[test]
fn nothing_is_lost_or_repeated_when_it_is_killed_or_loses_its_end() {
    let Plan { faults: kills, seed } = Plan::new(25, 150).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut cuts = 0;
    for _ in 0..kills {
        let mut process = start("run", directory.path());
        std::thread::sleep(Duration::from_millis(random.random_range(50..400)));
        assert!(process.ended().unwrap().is_none(), "{}, seed {seed}", process.tail());
        process.kill().unwrap();
        if random.random_ratio(1, 3) {
            let journal = journal(directory.path());
            let length = written(&journal);
            cut(&journal, length.saturating_sub(random.random_range(1..20_000)));
            cuts += 1;
        }
    }
    let records = assert_whole(directory.path(), seed);
    assert!(records > kills, "only {records} records were written");
    println!("{records} records right after {kills} kills and {cuts} cut logs");
}

#[test]
fn remembers_when_it_was_begun() {
    let created = |directory: &Path| {
        let Bus::Local(log) = open(directory).unwrap() else { unreachable!("it is a directory") };
        log.created()
    };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let begun = created(first.path());
    assert!(begun > 0 && created(second.path()) >= begun);
    assert_eq!(created(first.path()), begun);
}

#[test]
fn says_that_the_log_lost_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let bus = open(directory.path()).unwrap();
    let (mut source, _) = bus.source("writer", 0, b"").unwrap();
    let emit = Emit { topic: INPUT, key: "k".into(), payload: Some(vec![7; 1000].into()), ..Emit::default() };
    for _ in 0..20 {
        source.commit(std::slice::from_ref(&emit), &[]).unwrap();
    }
    drop((source, bus));
    let journal = journal(directory.path());
    let length = written(&journal);
    cut(&journal, length / 2);
    let bus = open(directory.path()).unwrap();
    let Bus::Local(local) = &bus else { unreachable!("it is a directory") };
    let left = read(&bus, INPUT).len() as u64;
    assert!(left < 20);
    assert_eq!(local.lost_commits(), 20 - left);
}

#[test]
fn goes_on_after_a_full_disk_without_loss() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=160m none \"$1\" && exec \"$0\" full-disk \"$1\"";
    command.args(["--mount", "--map-root-user", "sh", "-c", script, env!("CARGO_BIN_EXE_local")]).arg(directory.path());
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut process = Process::spawn("full disk", &mut command, log.path()).unwrap();
    let status = process.wait(Duration::from_secs(120)).unwrap();
    let output = process.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("full: ") && output.contains("Free some space") && output.contains("whole: "), "{output}");
}

#[track_caller]
fn check_refused(prepare: impl FnOnce(&Path), expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let error = open(directory.path()).err().expect("it is refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn says_why_it_cannot_open_a_directory_and_how_to_mend_it() {
    check_refused(|directory| fs::write(directory.join("log"), "a file").unwrap(), "Check that the directory exists");
    check_refused(
        |directory| {
            let config =
                LocalConfig { directory: directory.join("log"), partitions: 4, retention: Duration::from_secs(1) };
            drop(Bus::local(config).unwrap());
        },
        "its partitions is 4, not 1. Set bus.local.partitions to the number it has",
    );
    let directory = tempfile::tempdir().unwrap();
    let _held = open(directory.path()).unwrap();
    let error = open(directory.path()).err().expect("it is refused").to_string();
    assert!(error.contains("Another process has it open"), "{error}");
}
