//! Builds a catalogue piece by piece, so that all that is wrong can be told at once.

use rustc_hash::FxHashMap;

use crate::builtin;
use crate::catalog::{CLASSES, Catalog};
use crate::class::{Class, Classes};
use crate::entry::{Entry, Meaning};
use crate::source::{CatalogError, ClassFile, EntryFile, read};

/// What is wrong with a piece: the field, and the problem with how to mend it.
pub type Problem = (&'static str, String);

/// A catalogue in the making: first its classes, then its entries, the ones to be preferred first.
#[derive(Debug)]
pub struct Builder {
    classes: Classes,
    entries: Vec<Entry>,
}

impl Builder {
    /// Begins with the built-in classes.
    pub fn builtin() -> Result<Self, CatalogError> {
        Self::of(builtin::FILES)
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let table = files.iter().find(|(name, _)| *name == CLASSES);
        let (_, text) = table.ok_or(CatalogError::Missing { file: CLASSES })?;
        let mut classes = Classes::new(read::<ClassFile>(CLASSES, text)?);
        classes.resolve().map_err(|(class, name)| CatalogError::Invalid {
            file: CLASSES.to_owned(),
            entry: class,
            field: "recovers",
            problem: format!("`{name}` is no class"),
        })?;
        Ok(Self { classes, entries: Vec::new() })
    }

    /// Adds a class.
    pub fn class(&mut self, name: &str, class: Class) -> Result<(), Problem> {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)) {
            return Err(("name", format!("`{name}` is no name of a class: write it as `shop.payment_declined`")));
        }
        match self.classes.add(name, class) {
            true => Ok(()),
            false => Err(("name", format!("the class `{name}` is there already: give yours another name"))),
        }
    }

    /// Links the classes with those that they end; gives each class with what it names and no class is called.
    pub fn resolve(&mut self) -> Vec<(String, String)> {
        let mut unknown = Vec::new();
        while let Err((class, name)) = self.classes.resolve() {
            self.classes.unrecover(&class, &name);
            unknown.push((class, name));
        }
        unknown
    }

    /// Adds the entries of a file, of which the first has the number `first`.
    pub fn add(&mut self, file: &str, first: usize, source: &EntryFile) -> Result<(), CatalogError> {
        for (index, entry) in source.entries.iter().enumerate() {
            let number = first + index;
            let parsed = Entry::parse((file, number), source, entry, &self.classes);
            self.entries.push(parsed.map_err(|(field, problem)| CatalogError::Invalid {
                file: file.to_owned(),
                entry: format!("entry {number} ({})", entry.reason.as_slice().join(", ")),
                field,
                problem,
            })?);
        }
        Ok(())
    }

    /// Adds the built-in entries, after those that are to be preferred to them.
    pub fn add_builtin(&mut self) -> Result<(), CatalogError> {
        for (file, text) in builtin::FILES.iter().filter(|(name, _)| *name != CLASSES) {
            self.add(file, 1, &read::<EntryFile>(file, text)?)?;
        }
        Ok(())
    }

    /// The catalogue, whose contents `hash` names.
    pub fn build(self, hash: String) -> Result<Catalog, CatalogError> {
        let Self { classes, entries } = self;
        let fallback = |name: &str| {
            Meaning::of(name, &classes).map_err(|problem| CatalogError::Invalid {
                file: CLASSES.to_owned(),
                entry: name.to_owned(),
                field: "class",
                problem,
            })
        };
        let (unknown_warning, unknown_normal) = (fallback("unknown.warning")?, fallback("unknown.normal")?);
        let mut exact: FxHashMap<String, Vec<usize>> = FxHashMap::default();
        let mut open = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            for (name, is_open) in entry.reason.names() {
                if *is_open {
                    open.push((name.clone(), index));
                } else {
                    exact.entry(name.clone()).or_default().push(index);
                }
            }
        }
        Ok(Catalog { classes, entries, exact, open, unknown_warning, unknown_normal, hash })
    }
}
