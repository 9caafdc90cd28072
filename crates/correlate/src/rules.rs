//! Causal rules and the class table, ready for use.

use std::sync::Arc;

use epicenter_model::Role;
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use crate::bounds::Bounds;
use crate::class::{ClassInfo, Classes, fits};
use crate::edge::{Edge, EdgeSet};
use crate::function::Functions;
use crate::listed::{self, Listed};
use crate::patterns::{Named, PatternRule, PatternRules};
use crate::source::{Blame, CausalRule, CommonRule, Passes, QuietRule, RuleFile};

/// The built-in rules: name and text of each file.
const BUILTIN: &[(&str, &str)] = &[
    ("node.yaml", include_str!("../rules/node.yaml")),
    ("workload.yaml", include_str!("../rules/workload.yaml")),
    ("image.yaml", include_str!("../rules/image.yaml")),
    ("storage.yaml", include_str!("../rules/storage.yaml")),
    ("scheduling.yaml", include_str!("../rules/scheduling.yaml")),
    ("admission.yaml", include_str!("../rules/admission.yaml")),
    ("controllers.yaml", include_str!("../rules/controllers.yaml")),
    ("system.yaml", include_str!("../rules/system.yaml")),
    ("quiet.yaml", include_str!("../rules/quiet.yaml")),
    ("patterns.yaml", include_str!("../rules/patterns.yaml")),
];

/// The causal rules, ready for use, and the class table.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) classes: Classes,
    pub(crate) causal: Vec<Causal>,
    pub(crate) common: Vec<Common>,
    pub(crate) quiet: Vec<Quiet>,
    pub(crate) functions: Functions,
    pub(crate) patterns: PatternRules,
    causal_by_id: FxHashMap<Box<str>, usize>,
    common_by_id: FxHashMap<Box<str>, usize>,
    compiled: FxHashMap<Arc<str>, ClassRules>,
    unknown: ClassRules,
    pub(crate) bounds: Bounds,
    listed: Vec<Listed>,
    hash: Arc<str>,
}

/// Why rules cannot be used. Never retryable.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {rule}: {field}: {problem}")]
pub struct RulesError {
    /// The file.
    pub file: String,
    /// The rule's id, or `file` when the file cannot be read as rules at all.
    pub rule: String,
    /// The field.
    pub field: &'static str,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Causal {
    pub rule: CausalRule,
    pub causes: FxHashSet<Arc<str>>,
    pub effects: FxHashSet<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub rule: CommonRule,
    pub classes: FxHashSet<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Quiet {
    pub rule: QuietRule,
    pub after: FxHashSet<Arc<str>>,
}

/// What the rules say of one class.
#[derive(Clone, Debug)]
pub(crate) struct ClassRules {
    /// Rules of which it may be the effect, and the cause.
    pub as_effect: Vec<usize>,
    pub as_cause: Vec<usize>,
    pub common: Vec<usize>,
    pub quiet: Vec<usize>,
    pub blame: Vec<Blame>,
    pub prior: f64,
    pub own: f64,
    pub hidden: String,
    pub passes: Passes,
    /// Links that are followed for an Event of this class, and those whose ends remember it.
    pub follow: EdgeSet,
    pub mark: EdgeSet,
    pub recovers: FxHashSet<Arc<str>>,
    /// Goes on until a recovery says otherwise.
    pub lasting: bool,
    /// Its object is on its way out.
    pub gone: bool,
    /// That its pod is being deleted does not excuse it.
    pub despite_deletion: bool,
    /// What it tells of does not heal.
    pub harm: bool,
    pub role: Role,
    pub quiet_ms: i64,
    /// Its Events are counted for the sake of a pattern.
    pub counted: bool,
}

impl ClassRules {
    fn new(info: Option<&ClassInfo>) -> Self {
        let role = info.map_or(Role::Noise, |info| info.role);
        let (prior, own) = match role {
            Role::Cause => (0.8, 0.5),
            _ => (0.4, 0.25),
        };
        Self {
            as_effect: vec![],
            as_cause: vec![],
            common: vec![],
            quiet: vec![],
            blame: vec![Blame::Workload, Blame::Object],
            prior,
            own,
            hidden: String::new(),
            passes: Passes::Never,
            follow: EdgeSet::default(),
            mark: EdgeSet::default(),
            recovers: FxHashSet::default(),
            lasting: false,
            gone: false,
            despite_deletion: false,
            harm: false,
            role,
            quiet_ms: info.map_or(600_000, |info| info.quiet_ms),
            counted: false,
        }
    }
}

impl Rules {
    /// The built-in rules, over a class table. Classes that the table lacks are passed over.
    pub fn builtin(classes: Classes) -> Self {
        Self::compile(BUILTIN, classes, false).expect("the built-in rules are read by a test")
    }

    /// Rules from YAML `files` (name and text), over a class table.
    ///
    /// # Errors
    /// The first file, rule and field that is wrong: not YAML, an unknown field or class, a number out of range.
    pub fn parse(files: &[(&str, &str)], classes: Classes) -> Result<Self, RulesError> {
        Self::compile(files, classes, true)
    }

    /// The built-in rules and those of `files` after them, all checked.
    ///
    /// # Errors
    /// As [`Rules::parse`].
    pub fn extended(files: &[(&str, &str)], classes: Classes) -> Result<Self, RulesError> {
        Self::compile(&[BUILTIN, files].concat(), classes, true)
    }

    /// The same rules, by which other bounds hold.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The class table.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// All causal rules, in the order of their files.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Names these rules and classes: 16 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// As [`Rules::hash`], to keep.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.hash
    }

    /// The sentence of the rule `id`, of a member's `because`: why its parent brings it about.
    pub fn why(&self, id: &str) -> Option<&str> {
        match id {
            "same-object" => return Some("Both are about the same object."),
            "same-cause" => return Some("Both have the same object to blame."),
            _ => {}
        }
        let causal = self.causal_of(id).map(|causal| &causal.rule.why);
        let common = || self.common_of(id).map(|common| &common.rule.why);
        causal.or_else(common).map(String::as_str)
    }

    /// The causal rule `id`.
    pub(crate) fn causal_of(&self, id: &str) -> Option<&Causal> {
        self.causal_by_id.get(id).map(|index| &self.causal[*index])
    }

    /// The rule of common cause `id`.
    pub(crate) fn common_of(&self, id: &str) -> Option<&Common> {
        self.common_by_id.get(id).map(|index| &self.common[*index])
    }

    /// Whether Events of two classes about one object tell of one trouble: they are of the same, or one leads to the other.
    pub(crate) fn are_akin(&self, one: &str, other: &str) -> bool {
        let leads = |cause: &str, effect: &str| {
            let causal = self.class(cause).as_cause.iter().map(|index| &self.causal[*index]);
            let mut own = causal.filter(|causal| (causal.rule.edge, causal.rule.of) == (Edge::Object, Edge::Object));
            own.any(|causal| causal.effects.contains(effect))
        };
        one == other || leads(one, other) || leads(other, one)
    }

    pub(crate) fn class(&self, class: &str) -> &ClassRules {
        self.compiled.get(class).unwrap_or(&self.unknown)
    }

    fn compile(files: &[(&str, &str)], classes: Classes, strict: bool) -> Result<Self, RulesError> {
        let mut rules = Self::empty(classes);
        for (file, text) in files {
            rules.add(file, read(file, text)?, strict)?;
        }
        rules.finish(files);
        Ok(rules)
    }

    fn empty(classes: Classes) -> Self {
        Self {
            causal: vec![],
            common: vec![],
            quiet: vec![],
            functions: Functions::default(),
            patterns: PatternRules::default(),
            causal_by_id: FxHashMap::default(),
            common_by_id: FxHashMap::default(),
            compiled: classes.iter().map(|info| (info.class.as_str().into(), ClassRules::new(Some(info)))).collect(),
            unknown: ClassRules::new(None),
            bounds: Bounds::default(),
            listed: vec![],
            hash: "".into(),
            classes,
        }
    }

    fn add(&mut self, file: &str, source: RuleFile, strict: bool) -> Result<(), RulesError> {
        let found = listed::of_file(if strict { file } else { "built-in" }, &source);
        for rule in source.patterns {
            self.add_pattern(file, rule, strict)?;
        }
        for rule in source.rules {
            let check = Check { file, rule: &rule.id, classes: &self.classes, strict };
            check.that(!self.causal_by_id.contains_key(rule.id.as_str()), "id", "is used twice: give it another")?;
            check.that(rule.weight > 0.0 && rule.weight <= 1.0, "weight", "must be above 0 and at most 1")?;
            check.that(rule.lag_s.0 <= rule.lag_s.1, "lag_s", "must be [least, most]")?;
            check.that(!rule.why.is_empty(), "why", "must be a sentence")?;
            check.sourced(&rule.source)?;
            let causes = check.resolve(&rule.cause, "cause")?;
            let effects = check.resolve(&rule.effect, "effect")?;
            self.causal_by_id.insert(rule.id.as_str().into(), self.causal.len());
            self.causal.push(Causal { rule, causes, effects });
        }
        for rule in source.common {
            let check = Check { file, rule: &rule.id, classes: &self.classes, strict };
            let used = self.common_by_id.contains_key(rule.id.as_str());
            check.that(!used, "id", "is used twice: give it another")?;
            check.that(rule.owners >= 2, "owners", "must be at least 2")?;
            check.sourced(&rule.source)?;
            check.that(rule.weight > 0.0 && rule.weight <= 1.0, "weight", "must be above 0 and at most 1")?;
            let classes = check.resolve(&rule.classes, "classes")?;
            self.common_by_id.insert(rule.id.as_str().into(), self.common.len());
            self.common.push(Common { rule, classes });
        }
        for rule in source.quiet {
            let check = Check { file, rule: &rule.id, classes: &self.classes, strict };
            let used = self.quiet.iter().any(|known| known.rule.id == rule.id);
            check.that(!used, "id", "is used twice: give it another")?;
            check.sourced(&rule.source)?;
            let after = check.resolve(&rule.after, "after")?;
            let index = self.quiet.len();
            for class in check.resolve(&rule.classes, "classes")? {
                if let Some(compiled) = self.compiled.get_mut(&class) {
                    compiled.quiet.push(index);
                }
            }
            self.quiet.push(Quiet { rule, after });
        }
        for rule in source.roots {
            let id = rule.classes.join(", ");
            let check = Check { file, rule: &id, classes: &self.classes, strict };
            check.that((0.0..=1.0).contains(&rule.prior), "prior", "must be between 0 and 1")?;
            check.that((0.0..=1.0).contains(&rule.own), "own", "must be between 0 and 1")?;
            for class in check.resolve(&rule.classes, "classes")? {
                if let Some(compiled) = self.compiled.get_mut(&class) {
                    compiled.blame = rule.blame.clone();
                    (compiled.prior, compiled.own, compiled.passes) = (rule.prior, rule.own, rule.passes);
                    compiled.hidden.clone_from(&rule.hidden);
                }
            }
        }
        let mut flag = |rule: &'static str, classes: &[String], set: fn(&mut ClassRules)| {
            let check = Check { file, rule, classes: &self.classes, strict };
            for class in check.resolve(classes, rule)? {
                self.compiled.get_mut(&class).into_iter().for_each(set);
            }
            Ok(())
        };
        flag("gone", &source.gone, |class| class.gone = true)?;
        flag("despite_deletion", &source.despite_deletion, |class| class.despite_deletion = true)?;
        flag("harm", &source.harm, |class| class.harm = true)?;
        self.listed.extend(found);
        self.functions.add(source.serves, source.needs, source.implies);
        Ok(())
    }

    fn add_pattern(&mut self, file: &str, rule: PatternRule, strict: bool) -> Result<(), RulesError> {
        let check = Check { file, rule: rule.id.name(), classes: &self.classes, strict };
        if let Some(field) = rule.stray() {
            return Err(check.error(field, format!("cannot be set of this pattern: there are {}", rule.takes())));
        }
        if let Some((field, problem)) = rule.senseless() {
            return Err(check.error(field, problem));
        }
        let named = Named {
            classes: check.resolve(&rule.classes, "classes")?,
            except: check.resolve(&rule.except, "except")?,
            fixes: check.resolve(&rule.fixes, "fixes")?,
            load: check.resolve(&rule.load, "load")?,
        };
        let class = rule.class(self.classes.get(rule.id.class()));
        self.patterns.add(rule, named);
        if let Some(class) = class {
            self.compiled.entry(class.class.as_str().into()).or_insert_with(|| ClassRules::new(Some(&class)));
            self.classes.add(class);
        }
        Ok(())
    }

    /// Fills in what follows for each class from all the rules together, and names them by the texts that they are from.
    fn finish(&mut self, files: &[(&str, &str)]) {
        let mut digest = Sha256::new();
        for (name, text) in files {
            digest.update(format!("{name}\0{text}\0"));
        }
        for info in self.classes.iter() {
            digest.update(format!("{info:?}\0"));
        }
        self.hash = data_encoding::HEXLOWER.encode(&digest.finalize()[..8]).into();
        let recovered: FxHashSet<&str> = self
            .classes
            .iter()
            .flat_map(|info| &info.recovers)
            .flat_map(|pattern| self.classes.iter().filter(|info| fits(pattern, &info.class)))
            .map(|info| info.class.as_str())
            .collect();
        for (class, compiled) in &mut self.compiled {
            let class: &str = class;
            let (follow, mark) = (&mut compiled.follow, &mut compiled.mark);
            for (index, Causal { rule, causes, effects }) in self.causal.iter().enumerate() {
                if effects.contains(class) {
                    compiled.as_effect.push(index);
                    follow.insert(rule.edge);
                    mark.insert(rule.edge);
                }
                if causes.contains(class) {
                    compiled.as_cause.push(index);
                    follow.insert(rule.of);
                    mark.insert(rule.of);
                }
            }
            for (index, Common { rule, classes }) in self.common.iter().enumerate() {
                if classes.contains(class) {
                    compiled.common.push(index);
                    for edge in [Some(rule.edge), rule.enrichment.then_some(Edge::Cluster)].into_iter().flatten() {
                        follow.insert(edge);
                        mark.insert(edge);
                    }
                }
            }
            if compiled.passes != Passes::Never {
                follow.insert(Edge::Object);
                mark.insert(Edge::Object);
            }
            for index in &compiled.quiet {
                follow.insert(self.quiet[*index].rule.edge);
            }
            for Quiet { rule, after } in &self.quiet {
                if after.contains(class) {
                    follow.insert(rule.of);
                    mark.insert(rule.of);
                }
            }
            if let Some(info) = self.classes.get(class) {
                let over = self.classes.iter().filter(|other| info.recovers.iter().any(|p| fits(p, &other.class)));
                compiled.recovers = over.map(|other| other.class.as_str().into()).collect();
                if !compiled.recovers.is_empty() {
                    follow.insert(Edge::Object);
                    mark.insert(Edge::Object);
                }
            }
            compiled.lasting = recovered.contains(class);
            compiled.counted = self.patterns.counts(class);
        }
    }
}

/// The built-in rules, and others that are added one by one, so that all that is wrong can be told at once.
#[derive(Debug)]
pub struct RulesBuilder(Rules);

impl RulesBuilder {
    /// Begins with the built-in rules, over a class table.
    pub fn builtin(classes: Classes) -> Self {
        let mut rules = Rules::empty(classes);
        for (file, text) in BUILTIN {
            let added = read(file, text).and_then(|source| rules.add(file, source, false));
            added.expect("the built-in rules are read by a test");
        }
        Self(rules)
    }

    /// Adds what `source`, of the file `file`, says.
    ///
    /// # Errors
    /// The first rule and field that is wrong. What stands before it is added.
    pub fn add(&mut self, file: &str, source: RuleFile) -> Result<(), RulesError> {
        self.0.add(file, source, true)
    }

    /// The rules. Their hash names the built-in ones and `files`: name and text of each file of which something was added.
    pub fn build(self, files: &[(&str, &str)]) -> Rules {
        let mut rules = self.0;
        rules.finish(&[BUILTIN, files].concat());
        rules
    }
}

fn read(file: &str, text: &str) -> Result<RuleFile, RulesError> {
    serde_saphyr::from_str(text).map_err(|error| RulesError {
        file: file.to_owned(),
        rule: "file".to_owned(),
        field: "yaml",
        problem: error.to_string(),
    })
}

/// Where an error is.
struct Check<'a> {
    file: &'a str,
    rule: &'a str,
    classes: &'a Classes,
    strict: bool,
}

impl Check<'_> {
    fn that(&self, holds: bool, field: &'static str, problem: &str) -> Result<(), RulesError> {
        if holds { Ok(()) } else { Err(self.error(field, problem.to_owned())) }
    }

    fn sourced(&self, source: &str) -> Result<(), RulesError> {
        self.that(!source.is_empty(), "source", "must name where this is known from")
    }

    fn error(&self, field: &'static str, problem: String) -> RulesError {
        RulesError { file: self.file.to_owned(), rule: self.rule.to_owned(), field, problem }
    }

    /// The classes that `patterns` name. A trailing `*` stands for what can be wrong or planned: what is over, or nothing,
    /// neither causes anything nor is caused, unless it is named in full.
    fn resolve(&self, patterns: &[String], field: &'static str) -> Result<FxHashSet<Arc<str>>, RulesError> {
        let mut found = FxHashSet::default();
        let idle = |info: &ClassInfo| matches!(info.role, Role::Recovery | Role::Noise);
        for pattern in patterns {
            let before = found.len();
            let named = self.classes.iter().filter(|info| fits(pattern, &info.class));
            let named = named.filter(|info| *pattern == info.class || !idle(info));
            found.extend(named.map(|info| Arc::from(info.class.as_str())));
            if self.strict && found.len() == before && !self.classes.iter().any(|info| fits(pattern, &info.class)) {
                return Err(self.error(field, format!("no class is called `{pattern}`")));
            }
        }
        Ok(found)
    }
}
