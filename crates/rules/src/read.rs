//! Reads files of rules: all of them, or all that is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use epicenter_catalog::{Builder, Catalog, CatalogError, Class, Classified, EntryFile};
use epicenter_correlate::{ClassInfo, Listed, RuleFile, Rules, RulesBuilder, RulesError};
use epicenter_model::Event;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::classes::classes;
use crate::classifier::Classifier;
use crate::condition::Condition;
use crate::document::{Content, Node, Wrong};
use crate::source::{Action, Change, EventRule, EventSource};
use crate::subject::{OF_EVENTS, Subjects};

/// Where what comes with this version is from.
const BUILTIN: &str = "built-in";
/// The largest file, bytes.
const LARGEST: usize = 1 << 20;
/// The most rules about Events: each may be asked for each Event.
const MOST: usize = 500;
/// Sections that causal rules have.
const CAUSAL: [&str; 9] = ["rules", "common", "roots", "quiet", "gone", "serves", "needs", "implies", "patterns"];
/// All that a file may have.
const SECTIONS: &str =
    "component, kind, classes, entries, events, rules, common, roots, quiet, gone, serves, needs, implies, patterns";

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The field, such as `events[0].when`; empty for the whole file.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, field, what } = self;
        if field.is_empty() { write!(f, "{file}:{line}: {what}") } else { write!(f, "{file}:{line}: {field}: {what}") }
    }
}

/// Everything that is wrong with files of rules, in the order of the files. Not retryable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrong in {} place(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// The built-in rules and those of one's own, ready for use.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What Events mean.
    pub classifier: Arc<Classifier>,
    /// What causes what. Its hash names all rules, those about Events too.
    pub causal: Arc<Rules>,
}

impl RuleSet {
    /// Those of this version alone.
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<RuleSet> = LazyLock::new(|| RuleSet {
            classifier: Arc::new(Classifier::builtin()),
            causal: Arc::new(Rules::builtin(classes(Catalog::builtin()))),
        });
        BUILTIN.clone()
    }

    /// The built-in ones and those of `files` (name and text), of which the first are preferred.
    pub fn read(files: &[(&str, &str)]) -> Result<Self, Problems> {
        if files.is_empty() {
            return Ok(Self::builtin());
        }
        let mut reader = Reader::default();
        let documents = files.iter().filter_map(|(name, text)| Some((*name, reader.document(name, text)?)));
        let documents: Vec<(&str, Node)> = documents.collect();
        // A file is the same wherever it lies.
        let own_name = |name: &'_ str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let named: Vec<(String, &str)> = files.iter().map(|(name, text)| (own_name(name), *text)).collect();
        let named: Vec<(&str, &str)> = named.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let catalog = reader.catalog(&documents, &named);
        let causal = reader.causal(&documents, &named, &catalog);
        let events = reader.events(&documents, &catalog);
        // In the order in which somebody reads the files.
        reader.problems.sort_by_key(|problem| {
            (files.iter().position(|(name, _)| *name == problem.file), problem.line, problem.field.clone())
        });
        match reader.problems.is_empty() {
            true => Ok(Self { classifier: Arc::new(Classifier::new(catalog, events)), causal: Arc::new(causal) }),
            false => Err(Problems(reader.problems)),
        }
    }
}

impl RuleSet {
    /// All that is in force but the catalogue's entries: classes, rules about Events, causal rules.
    pub fn listed(&self) -> Vec<Listed> {
        let builtin = Self::builtin();
        let class = |info: &ClassInfo| {
            let same = builtin.causal.classes().get(&info.class) == Some(info);
            Listed::class(info, if same { BUILTIN } else { "own" })
        };
        let event = |rule: &EventRule| Listed {
            section: "events",
            name: rule.id.clone(),
            from: rule.file.clone(),
            says: match &rule.then {
                Action::Set(Change { class, category, severity, role }) => {
                    let set = |name: &str, to: Option<String>| to.map(|to| format!("{name} {to}"));
                    let parts = [
                        set("class", class.clone()),
                        set("category", category.map(|it| it.to_string())),
                        set("severity", severity.map(|it| it.to_string())),
                        set("role", role.map(|it| it.to_string())),
                    ];
                    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
                }
                other => other.name().to_owned(),
            },
        };
        let classes = self.causal.classes().iter().map(class);
        let events = self.classifier.rules().iter().map(event);
        classes.chain(events).chain(self.causal.listed().iter().cloned()).collect()
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn wrong(&mut self, file: &str, (line, field, what): Wrong) {
        self.problems.push(Problem { file: file.to_owned(), line, field, what });
    }

    fn document(&mut self, file: &str, text: &str) -> Option<Node> {
        if text.len() > LARGEST {
            let what = format!("it has {} bytes, {LARGEST} are allowed: write several files", text.len());
            self.wrong(file, (1, String::new(), what));
            return None;
        }
        let node = Node::parse(text).map_err(|wrong| self.wrong(file, wrong)).ok()?;
        match &node.content {
            Content::Table(rows) => {
                let known: Vec<&str> = SECTIONS.split(", ").collect();
                for (key, line, _) in rows.iter().filter(|(key, ..)| !known.contains(&key.as_str())) {
                    self.wrong(
                        file,
                        (*line, key.clone(), format!("is no section of a file of rules: there are {SECTIONS}")),
                    );
                }
                Some(node)
            }
            Content::Scalar(Value::Null) => None,
            _ => {
                self.wrong(file, (node.line, String::new(), format!("must be a table with the sections {SECTIONS}")));
                None
            }
        }
    }

    /// The items of a section, each with its place.
    fn items<'n>(&mut self, file: &str, document: &'n Node, section: &str) -> Vec<(String, &'n Node)> {
        match document.get(section).map(|node| (node.line, &node.content)) {
            Some((_, Content::List(items))) => {
                items.iter().enumerate().map(|(index, item)| (format!("{section}[{index}]"), item)).collect()
            }
            None | Some((_, Content::Scalar(Value::Null))) => Vec::new(),
            Some((line, _)) => {
                self.wrong(file, (line, section.to_owned(), "must be a list".to_owned()));
                Vec::new()
            }
        }
    }

    fn catalog(&mut self, documents: &[(&str, Node)], files: &[(&str, &str)]) -> Arc<Catalog> {
        if !documents.iter().any(|(_, document)| document.get("classes").is_some() || document.get("entries").is_some())
        {
            return Arc::clone(Catalog::builtin());
        }
        let mut builder = builtin(Builder::builtin());
        let mut lines: BTreeMap<String, (&str, u64)> = BTreeMap::new();
        for (file, document) in documents {
            match document.get("classes").map(|node| (node.line, &node.content)) {
                Some((_, Content::Table(rows))) => {
                    for (name, line, class) in rows {
                        let place = format!("classes.{name}");
                        let added = class.read::<Class>(&place).and_then(|class| {
                            let wrong = |(_, what): (&str, String)| (*line, place.clone(), what);
                            builder.class(name, class).map_err(wrong)
                        });
                        match added {
                            Ok(()) => _ = lines.insert(name.clone(), (file, class.line_of(&["recovers"]))),
                            Err(wrong) => self.wrong(file, wrong),
                        }
                    }
                }
                None | Some((_, Content::Scalar(Value::Null))) => {}
                Some((line, _)) => self.wrong(file, (line, "classes".into(), "must be a table of classes".into())),
            }
        }
        for (class, name) in builder.resolve() {
            let (file, line) = lines.get(&class).copied().unwrap_or(("classes.yaml", 1));
            self.wrong(file, (line, format!("classes.{class}.recovers"), format!("no class is called `{name}`")));
        }
        let mut places: BTreeMap<(&str, usize), u64> = BTreeMap::new();
        for (file, document) in documents {
            let defaults = |key| document.get(key).map_or(Value::Null, Node::value);
            for (number, (place, item)) in (1..).zip(self.items(file, document, "entries")) {
                let whole =
                    json!({"component": defaults("component"), "kind": defaults("kind"), "entries": [item.value()]});
                let added = within(item, &place, "entries", whole).and_then(|entry: EntryFile| {
                    builder.add(file, number, &entry).map_err(|error| match error {
                        CatalogError::Invalid { field, problem, .. } => {
                            (item.line_of(&[field]), format!("{place}.{field}"), problem)
                        }
                        other => (item.line, place.clone(), other.to_string()),
                    })
                });
                match added {
                    Ok(()) => _ = places.insert((file, number), item.line_of(&["examples"])),
                    Err(wrong) => self.wrong(file, wrong),
                }
            }
        }
        builtin(builder.add_builtin());
        let catalog = builtin(builder.build(hash(files)));
        for (file, _) in documents {
            for (number, problem) in catalog.broken_examples(file) {
                let line = places.get(&(file, number)).copied().unwrap_or(1);
                self.wrong(file, (line, format!("entries[{}].examples", number - 1), problem));
            }
        }
        Arc::new(catalog)
    }

    fn causal(&mut self, documents: &[(&str, Node)], files: &[(&str, &str)], catalog: &Catalog) -> Rules {
        let mut builder = RulesBuilder::builtin(classes(catalog));
        for (file, document) in documents {
            for section in CAUSAL {
                for (place, item) in self.items(file, document, section) {
                    let added =
                        within(item, &place, section, json!({section: [item.value()]})).and_then(|rule: RuleFile| {
                            builder.add(file, rule).map_err(|RulesError { field, problem, .. }| {
                                let shown = if field == section { place.clone() } else { format!("{place}.{field}") };
                                (item.line_of(&[field]), shown, problem)
                            })
                        });
                    if let Err(wrong) = added {
                        self.wrong(file, wrong);
                    }
                }
            }
        }
        builder.build(files)
    }

    /// The rules about Events, each with the classes that it may concern.
    fn events(&mut self, documents: &[(&str, Node)], catalog: &Catalog) -> Vec<(EventRule, Vec<String>)> {
        let mut found: Vec<(EventRule, Vec<String>)> = Vec::new();
        for (file, document) in documents {
            for (place, item) in self.items(file, document, "events") {
                let source = match item.read::<EventSource>(&place) {
                    Ok(source) => source,
                    Err(wrong) => {
                        self.wrong(file, wrong);
                        continue;
                    }
                };
                let mut wrong = |field: &str, what: String| {
                    self.wrong(file, (item.line_of(&[field]), format!("{place}.{field}"), what));
                };
                if source.id.is_empty() || source.id.len() > 100 {
                    wrong("id", "must be a name of 1 to 100 bytes".to_owned());
                }
                if let Some((other, _)) = found.iter().find(|(rule, _)| rule.id == source.id) {
                    wrong("id", format!("`{}` is used twice (in {}): give it another", source.id, other.file));
                }
                if source.classes.is_empty() && source.when.is_none() {
                    wrong("when", "is missing: say by `classes` or `when` which Events are meant".to_owned());
                }
                if let Action::Set(change) = &source.then {
                    if *change == Change::default() {
                        wrong("then", "sets nothing: name class, category, severity or role".to_owned());
                    }
                    if let Some(class) = change.class.as_ref().filter(|class| catalog.classes().get(class).is_none()) {
                        wrong("then", format!("no class is called `{class}`"));
                    }
                }
                let named = concerned(catalog, &source.classes);
                for pattern in source.classes.iter().filter(|it| concerned(catalog, &[it.to_string()]).is_empty()) {
                    wrong("classes", format!("no class is called `{pattern}`"));
                }
                let when = match source.when.as_deref().map(compiled).transpose() {
                    Ok(when) => when,
                    Err(what) => {
                        wrong("when", what);
                        None
                    }
                };
                if found.len() == MOST {
                    wrong("id", format!("there are more than {MOST} rules about Events: name classes instead"));
                }
                found.push((EventRule { id: source.id, file: (*file).to_owned(), then: source.then, when }, named));
            }
        }
        found
    }
}

/// The classes that patterns stand for; all for none.
fn concerned(catalog: &Catalog, patterns: &[String]) -> Vec<String> {
    let fits = |class: &str, pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => class.starts_with(start),
        None => class == pattern,
    };
    let names = catalog.classes().iter().map(|(name, _)| name);
    let named = names.filter(|name| patterns.is_empty() || patterns.iter().any(|pattern| fits(name, pattern)));
    named.map(str::to_owned).collect()
}

/// Compiles a condition, and tries it.
fn compiled(text: &str) -> Result<Condition, String> {
    let condition = Condition::compile(text, &OF_EVENTS)?;
    let event = Event { reason: "Sample".into(), note: "a sample".into(), ..Event::default() };
    let meaning = Classified {
        class: "unknown.warning",
        category: Default::default(),
        severity: Default::default(),
        role: Default::default(),
        entities: Vec::new(),
    };
    let sample = Subjects::new(std::iter::once(&condition)).of("sample", &event, &meaning);
    condition.check(&sample)?;
    Ok(condition)
}

/// Reads `whole`, in which `item` is the only one of `section`; what is wrong is told by the item's own place.
fn within<T: serde::de::DeserializeOwned>(item: &Node, place: &str, section: &str, whole: Value) -> Result<T, Wrong> {
    item.read_as(place, &[section, "0"], whole)
}

/// What can only fail when the built-in data is wrong, which a test reads.
fn builtin<T>(outcome: Result<T, CatalogError>) -> T {
    outcome.expect("the built-in catalogue is read by a test")
}

fn hash(files: &[(&str, &str)]) -> String {
    let mut digest = Sha256::new();
    digest.update(Catalog::builtin().hash());
    for (name, text) in files {
        digest.update(format!("{name}\0{text}\0"));
    }
    data_encoding::HEXLOWER.encode(&digest.finalize()[..8])
}
