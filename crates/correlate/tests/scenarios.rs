//! What the engine makes of the scenarios in `tests/scenarios`: a text of records, `---`, and the incidents in the end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::fs;
use std::path::Path;

use fixture::{incidents, records, rules, run, summary, told};

#[test]
fn scenarios() {
    let rules = rules();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20);
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (script, expected) = text.split_once("---\n").unwrap();
        let incidents = incidents(&run(&rules, &records(script)));
        let found = summary(&incidents);
        if found != expected {
            let name = file.file_name().unwrap().display();
            wrong += &format!("== {name}\n-- expected\n{expected}-- found\n{found}{}", told(&incidents));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
