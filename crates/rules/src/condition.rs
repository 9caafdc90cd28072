//! A condition in CEL over an Event or an incident: compiled once, checked for all that can be known before one comes, and
//! bounded by its form.
//!
//! A limit on time would make the same log give other incidents on a slower machine. So what could take long is refused:
//! a macro within a macro, a pattern that is not written out, an expression that is long or deep.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, ExecutionError, Program, Value};
use regex::{Regex, RegexBuilder};

/// What a condition can look at.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// The variable with the fields, and what it stands for in a message.
    pub root: &'static str,
    pub what: &'static str,
    pub fields: &'static [&'static str],
    /// Those of the fields that are tables, and the fields of these.
    pub tables: &'static [&'static str],
    pub table: &'static [&'static str],
    /// The other variables.
    pub variables: &'static [&'static str],
}

/// The longest expression, bytes.
const LONGEST: usize = 1024;
/// The deepest nesting of an expression.
const DEEPEST: usize = 64;
/// The largest compiled pattern of `matches`, bytes.
const PATTERN: usize = 1 << 20;

/// What may be called besides operators. Macros are comprehensions by the time they are seen here.
const FUNCTIONS: [&str; 8] = ["contains", "endsWith", "matches", "size", "startsWith", "string", "int", "double"];

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    program: Program,
    /// Fields that it looks at.
    pub fields: Vec<&'static str>,
    /// Patterns of `matches` in it.
    pub patterns: Vec<(String, Regex)>,
}

impl Condition {
    /// Compiles `text`; an error says what is wrong and how to mend it.
    pub fn compile(text: &str, vocabulary: &'static Vocabulary) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is {} bytes long, {LONGEST} are allowed: write several rules", text.len()));
        }
        let program = Program::compile(text).map_err(|errors| explained(&errors))?;
        let mut walk = Walk::new(vocabulary);
        walk.expression(program.expression(), 0);
        match walk.problems.is_empty() {
            true => Ok(Self { program, fields: walk.fields, patterns: walk.patterns }),
            false => Err(walk.problems.join("; ")),
        }
    }

    /// Whether it holds; an error says why it cannot be told.
    pub fn holds(&self, subject: &Context<'_, '_>) -> Result<bool, String> {
        match self.program.execute(subject) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it gives {:?}, not true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is wrong with it whatever it is asked of, as far as `sample` shows it.
    pub fn check(&self, sample: &Context<'_, '_>) -> Result<(), String> {
        match self.program.execute(sample) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(format!("it gives {:?}, not true or false", other.type_of())),
            // A label that this one lacks another one may have.
            Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_)) => Ok(()),
            Err(ExecutionError::FunctionError { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The parser's errors on one line, with their columns.
fn explained(errors: &cel::ParseErrors) -> String {
    let said: Vec<String> = errors
        .errors
        .iter()
        .take(3)
        .map(|error| format!("column {}: {}", error.pos.1, error.msg.lines().next().unwrap_or_default()))
        .collect();
    format!("this is no CEL: {}", said.join("; "))
}

struct Walk {
    vocabulary: &'static Vocabulary,
    fields: Vec<&'static str>,
    patterns: Vec<(String, Regex)>,
    problems: Vec<String>,
    /// Names that the macros around bind.
    bound: Vec<String>,
    macros: usize,
}

impl Walk {
    fn new(vocabulary: &'static Vocabulary) -> Self {
        let (fields, patterns, problems, bound) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { vocabulary, fields, patterns, problems, bound, macros: 0 }
    }

    fn wrong(&mut self, problem: String) {
        if self.problems.len() < 5 && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn expression(&mut self, expression: &IdedExpr, depth: usize) {
        if depth > DEEPEST {
            return self.wrong(format!("it is nested more than {DEEPEST} deep: write several rules"));
        }
        let deeper = depth + 1;
        match &expression.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                if !self.field(&select.operand.expr, &select.field) {
                    self.expression(&select.operand, deeper);
                }
            }
            Expr::Call(call) => {
                self.call(&call.func_name, &call.args);
                call.target.iter().for_each(|target| self.expression(target, deeper));
                call.args.iter().for_each(|argument| self.expression(argument, deeper));
            }
            Expr::Comprehension(each) => {
                self.expression(&each.iter_range, deeper);
                if self.macros > 0 {
                    return self.wrong(
                        "a macro (all, exists, filter, map) within another may take too long: write several rules"
                            .to_owned(),
                    );
                }
                self.macros += 1;
                let names = [Some(&each.iter_var), each.iter_var2.as_ref(), Some(&each.accu_var)];
                self.bound.extend(names.into_iter().flatten().cloned());
                for part in [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result] {
                    self.expression(part, deeper);
                }
                self.bound.clear();
                self.macros -= 1;
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.expression(element, deeper)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.expression(&entry.key, deeper);
                        self.expression(&entry.value, deeper);
                    }
                }
            }
            Expr::Struct(_) => self.wrong("it makes a message of its own: compare with plain values".to_owned()),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn variable(&mut self, name: &str) {
        let Vocabulary { root, fields, variables, .. } = self.vocabulary;
        if name == *root {
            let field = fields.first().copied().unwrap_or_default();
            self.wrong(format!("`{root}` as a whole cannot be used: name a field, such as {root}.{field}"));
        } else if !variables.contains(&name) && !self.bound.iter().any(|bound| bound == name) {
            self.wrong(format!("there is no `{name}`: there are {root}.FIELD and {}", variables.join(", ")));
        }
    }

    /// A field, or one of a table in it. `false` for one of something else.
    fn field(&mut self, of: &Expr, field: &str) -> bool {
        let Vocabulary { root, what, fields, tables, table, .. } = self.vocabulary;
        match of {
            Expr::Ident(name) if name == root => {
                match fields.iter().find(|known| **known == field) {
                    Some(known) if !self.fields.contains(known) => self.fields.push(known),
                    Some(_) => {}
                    None => self.wrong(format!("{what} has no `{field}`: it has {}", fields.join(", "))),
                }
                true
            }
            Expr::Select(select)
                if tables.contains(&select.field.as_str())
                    && matches!(&select.operand.expr, Expr::Ident(name) if name == root) =>
            {
                if !table.contains(&field) {
                    self.wrong(format!("{root}.{} has no `{field}`: it has {}", select.field, table.join(", ")));
                }
                self.field(&select.operand.expr, &select.field)
            }
            _ => false,
        }
    }

    fn call(&mut self, function: &str, arguments: &[IdedExpr]) {
        let operator = function.contains(['_', '@', '!', '-']);
        if !operator && !FUNCTIONS.contains(&function) {
            return self.wrong(format!("there is no function `{function}`: there are {}", FUNCTIONS.join(", ")));
        }
        if function != "matches" {
            return;
        }
        match arguments.last().map(|argument| &argument.expr) {
            Some(Expr::Literal(LiteralValue::String(pattern))) if arguments.len() == 1 => {
                let pattern = pattern.inner();
                match RegexBuilder::new(pattern).size_limit(PATTERN).build() {
                    Ok(regex) => self.patterns.push((pattern.to_owned(), regex)),
                    Err(error) => {
                        let what = error.to_string();
                        let what = what.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                        self.wrong(format!("`{pattern}` is no regular expression: {what}"));
                    }
                }
            }
            _ => self.wrong("matches takes a pattern that is written out: event.note.matches('^Back-off')".to_owned()),
        }
    }
}
