//! Sizes and names of files, and what must not be left in them.

use super::tree::File;

const LINES: usize = 800;
const MAIN_LINES: usize = 80;

/// Names that say nothing of what is inside.
const NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "manager"];

/// Left-overs; written in halves, so that this file holds none.
const LEFT: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
];

/// Everything that is against it.
pub fn check(files: &[File]) -> Vec<String> {
    files.iter().flat_map(|file| name(file).into_iter().chain(size(file)).chain(left_over(file))).collect()
}

fn name(file: &File) -> Option<String> {
    let stems = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
    let bad = stems.into_iter().find(|stem| NAMES.contains(stem))?;
    Some(format!("{}: `{bad}` does not say what is inside; name the thing", file.path))
}

fn size(file: &File) -> Option<String> {
    let limit = if file.name() == "main.rs" { MAIN_LINES } else { LINES };
    let lines = file.text.lines().count();
    (file.is_rust() && lines > limit)
        .then(|| format!("{}: {lines} lines, and {limit} is the limit; split it", file.path))
}

fn left_over(file: &File) -> impl Iterator<Item = String> {
    file.text.lines().enumerate().filter(|_| file.is_rust()).filter_map(|(number, line)| {
        let left = LEFT.iter().find(|left| line.contains(*left))?;
        Some(format!("{}:{}: `{left}` is left; finish it", file.path, number + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(super::check(&[file]), expected);
    }

    #[test]
    fn names_say_what_is_inside() {
        check("crates/bus/src/record.rs", "", &[]);
        check("tests/recordings/kube-controller-manager.json", "", &[]);
        check(
            "crates/bus/src/utils.rs",
            "",
            &["crates/bus/src/utils.rs: `utils` does not say what is inside; name the thing"],
        );
        check(
            "tests/common/mod.rs",
            "",
            &["tests/common/mod.rs: `common` does not say what is inside; name the thing"],
        );
    }

    #[test]
    fn sources_are_short() {
        check("a.rs", &"\n".repeat(800), &[]);
        check("a.rs", &"\n".repeat(801), &["a.rs: 801 lines, and 800 is the limit; split it"]);
        check("a/src/main.rs", &"\n".repeat(80), &[]);
        check("a/src/main.rs", &"\n".repeat(81), &["a/src/main.rs: 81 lines, and 80 is the limit; split it"]);
        check("a.yaml", &"\n".repeat(801), &[]);
    }

    #[test]
    fn nothing_is_left_unfinished() {
        for left in LEFT {
            check("a.rs", &format!("fn a() {{}}\n// {left}\n"), &[&format!("a.rs:2: `{left}` is left; finish it")]);
        }
    }
}
