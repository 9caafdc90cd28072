//! What can be typed.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Turns the Events of Kubernetes clusters into a few explained incidents.
#[derive(Debug, Parser)]
#[command(
    name = "epicenter",
    version,
    after_help = "Begin with:\n  epicenter demo                      incidents of a recorded cluster, nothing needed\n  \
                  epicenter up                        incidents of the current kubeconfig's cluster, as they form\n  \
                  kubectl get events -A -o json | epicenter replay -"
)]
pub struct Cli {
    /// What is configured, on every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The name under which `kubectl` finds a plugin, and what is typed then.
const PLUGIN: (&str, &str) = ("kubectl-epicenter", "kubectl epicenter");

impl Cli {
    /// What was typed; the first of `words` is the program, which says how its help calls it.
    ///
    /// # Errors
    /// What is wrong, or help that was asked for.
    pub fn typed(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        let is_plugin = words.first().is_some_and(|word| Path::new(word).file_stem() == Some(OsStr::new(PLUGIN.0)));
        let mut command = if is_plugin { plugin(Self::command()).bin_name(PLUGIN.1) } else { Self::command() };
        Self::from_arg_matches_mut(&mut command.try_get_matches_from_mut(words)?)
            .map_err(|error| error.format(&mut command))
    }
}

/// The command whose help and examples are what a user of `kubectl` types.
fn plugin(command: clap::Command) -> clap::Command {
    let said = |text: &clap::builder::StyledStr| {
        let typed = |line: &str| match line.strip_prefix("  epicenter ") {
            Some(rest) => format!("  {} {rest}", PLUGIN.1),
            None => {
                line.replace("| epicenter ", "| kubectl epicenter ").replace("; epicenter ", "; kubectl epicenter ")
            }
        };
        text.to_string().lines().map(typed).collect::<Vec<_>>().join("\n")
    };
    let after = command.get_after_help().map(said);
    let command = match after {
        Some(after) => command.after_help(after),
        None => command,
    };
    command.mut_subcommands(plugin)
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file (YAML); settings are also taken from EPICENTER_* (EPICENTER_BUS__KAFKA__BOOTSTRAP)
    #[arg(long, global = true, env = "EPICENTER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Directory of the embedded log [default: $XDG_STATE_HOME/epicenter/CONTEXT]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a cluster, and print and serve incidents as they form
    Up(Up),
    /// Run a recording of a real cluster through the pipeline, and explain what happened in it
    Demo,
    /// Find the incidents in files: `kubectl get … -o json` or `-o yaml`, watch streams, .gz, `-` for standard input
    #[command(
        after_help = "Examples:\n  kubectl get events -A -o json > events.json; epicenter replay events.json\n  \
                            kubectl get pods,nodes,deployments,replicasets -A -o json > objects.json\n  \
                            epicenter replay events.json objects.json -o json | jq '.[].title'"
    )]
    Replay(Replay),
    /// Check rules of your own, and see what they would change
    #[command(subcommand)]
    Rules(Rules),
    /// Tell receivers of incidents; check a file of alerts, and see who would be told of what
    #[command(subcommand)]
    Alerts(Alerts),
    /// Keep Events and incidents for long, and look after what is kept
    #[command(subcommand)]
    Archive(Archive),
    /// Look for Events and incidents in the archive
    #[command(
        subcommand,
        after_help = "Examples:\n  epicenter query events --from 30d --namespace shop --reason OOMKilling\n  \
                            epicenter query incidents --from 30d --severity high,critical --text registry\n  \
                            epicenter query events --incident epc-636zfrqou6 -o json\n  \
                            epicenter query sql \"SELECT reason, sum(occurrences) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 10\""
    )]
    Query(Query),
    /// Count Events and incidents in the archive, by groups and stretches of time
    #[command(after_help = "Examples:\n  epicenter aggregate events --from 30d --by reason\n  \
                            epicenter aggregate incidents --from 90d --by category --every 1w")]
    Aggregate(Aggregate),
    /// Tell what some days came to: a page for people, of Events and incidents in the archive
    #[command(after_help = "Examples:\n  epicenter report --since 7d -o html > week.html\n  \
                            epicenter report --since 30d --namespace shop")]
    Report(Report),
    /// List incidents
    Incidents(Incidents),
    /// Follow incidents as they form, change and end: what is open now, and from then on what is new
    #[command(after_help = "Examples:\n  epicenter watch --severity high\n  \
                            epicenter watch -o json | jq -r '.incident.title'")]
    Watch(Watch),
    /// Draw one incident over time, a lane for each object; from the log, or of one that is over from the archive
    Timeline {
        /// Its id, or the beginning of it
        id: String,
        /// How: a drawing as wide as the terminal, or its Events
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
    },
    /// Tell one incident
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// Draw the tree of causes, and say why each is one
        #[arg(long)]
        why: bool,
        /// How
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
    },
    /// What somebody says of incidents
    #[command(flatten)]
    Say(Say),
    /// List the silences that are in force, or will be
    Silences {
        /// How
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
    },
    /// List the newest Events, with their meaning
    Events {
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// How
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
    },
    /// Look for what is wrong with this installation, and say how to mend it
    Doctor,
    /// Show or check the configuration
    #[command(subcommand)]
    Config(Config),
    /// Topics of a Kafka cluster
    #[command(subcommand)]
    Topics(Topics),
    /// Schemas of the topics' records in a schema registry
    #[command(subcommand)]
    Schemas(Schemas),
    /// Print the custom resource definition: `epicenter crd | kubectl apply -f -`
    Crd,
    /// Print the metrics that there are, in Markdown
    Metrics,
    /// Print a script by which a shell completes commands and options: `source <(epicenter completion bash)`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Run the exporter of one cluster
    Exporter,
    /// Run an enricher
    Enricher,
    /// Run a correlator
    Correlator,
    /// Run the correlator of all clusters together: what several have in common, and which are silent
    Fleet,
    /// Expect no more of a cluster that was taken out, so that it does not count as silent
    Forget {
        /// Its name
        cluster: String,
    },
    /// Take commands and events of applications by HTTP
    Intake,
    /// Serve incidents, Events and reports to browsers
    Console,
    /// Run a sink: the public table of incidents, and one cluster's Incident objects
    Sink(Sink),
}

/// What somebody says of incidents.
#[derive(Debug, Subcommand)]
pub enum Say {
    /// Say that you look after an incident: nobody is told of it again, unless it becomes worse
    Ack {
        /// Its id, or the beginning of it
        id: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Say that nobody looks after an incident any more
    Unack {
        /// Its id, or the beginning of it
        id: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Write something down about an incident
    Note {
        /// Its id, or the beginning of it
        id: String,
        /// What
        text: String,
        /// Who you are
        #[arg(long, value_name = "NAME", env = "USER")]
        by: String,
    },
    /// Say that an incident is over. It opens again when something more is heard of it
    Resolve {
        /// Its id, or the beginning of it
        id: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Say that an incident is none, or not what it says it is, and end it
    Wrong {
        /// Its id, or the beginning of it
        id: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Say that two incidents are one: the one that was opened first takes the other over
    Merge {
        /// The id of one, or the beginning of it
        id: String,
        /// That of the other
        with: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Say that what an incident has of some objects is another incident, and stays one
    #[command(
        after_help = "Example:\n  epicenter split epc-7f3k --object Deployment/shop/web -m \"its image is wrong, the node is fine\""
    )]
    Split {
        /// Its id, or the beginning of it
        id: String,
        /// KIND/NAMESPACE/NAME or KIND/NAME: an object that has Events in it, or the workload above such; several parted by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "OBJECT")]
        object: Vec<String>,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
    /// Tell nobody of some incidents for a while, now or later
    #[command(after_help = "Examples:\n  epicenter silence epc-7f3k --for 2h -m \"the vendor is on it\"\n  \
                            epicenter silence --object Node/worker1 --from 2026-12-01T22:00:00Z --for 4h -m \"new kernel\"\n  \
                            epicenter silence --cluster staging --all --until 2026-12-02T06:00:00Z -m \"load test\"")]
    Silence(Silence),
    /// End a silence
    Unsilence {
        /// Its id, or the beginning of it
        id: String,
        /// Who, and why
        #[command(flatten)]
        said: Said,
    },
}

/// Who says something, and why.
#[derive(Debug, Args)]
pub struct Said {
    /// Why
    #[arg(short, long, value_name = "WHY", default_value = "")]
    pub message: String,
    /// Who you are
    #[arg(long, value_name = "NAME", env = "USER")]
    pub by: String,
}

/// `silence`.
#[derive(Debug, Args)]
pub struct Silence {
    /// The incident of that id, or of the only one that begins so
    pub id: Option<String>,
    /// The cluster; needed without an incident when there are several
    #[arg(long, value_name = "NAME", default_value = "")]
    pub cluster: String,
    /// Incidents that touch that namespace
    #[arg(short, long, value_name = "NAME", default_value = "")]
    pub namespace: String,
    /// Incidents whose cause has that class; `node.*` is all below `node.`
    #[arg(long, value_name = "CLASS", default_value = "")]
    pub class: String,
    /// Incidents whose cause, or a workload of which, is that object: KIND or KIND/NAME
    #[arg(long, value_name = "OBJECT", default_value = "")]
    pub object: String,
    /// Incidents that are not more severe than that
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<String>,
    /// All incidents of the cluster
    #[arg(long, conflicts_with_all = ["id", "namespace", "class", "object", "severity"])]
    pub all: bool,
    /// When it begins [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// When it ends
    #[arg(long, value_name = "TIME", conflicts_with = "duration", required_unless_present = "duration")]
    pub until: Option<String>,
    /// How long it holds, such as 30m, 2h, 7d
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<String>,
    /// Who, and why
    #[command(flatten)]
    pub said: Said,
}

/// `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Name of the cluster [default: the context's name]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Write nothing into the cluster: no Incident objects, no Events
    #[arg(long)]
    pub no_objects: bool,
}

/// `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How: a table, or a JSON array of whole incidents with all their members
    #[arg(short, long, value_enum, default_value_t = Listing::Table)]
    pub output: Listing,
    /// Tell each incident with its tree of causes, and say why each is one
    #[arg(long, conflicts_with = "output")]
    pub explain: bool,
    /// Name of the cluster that the files are from
    #[arg(long, default_value = "replay", value_name = "NAME")]
    pub cluster: String,
}

/// `rules`.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Check files of rules, and say all that is wrong
    Check {
        /// Files, or directories of files `*.yaml`
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the built-in rules and classes, and those of files
    List {
        /// Files of rules, or directories of files `*.yaml`
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
    },
    /// Replay recordings with the built-in rules and with those of a file too, and say what would change
    #[command(
        after_help = "Example:\n  kubectl get events -A -o json > events.json; epicenter rules test rules.yaml events.json"
    )]
    Test {
        /// A file of rules, or a directory of files `*.yaml`
        #[arg(value_name = "FILE")]
        rules: PathBuf,
        /// What `epicenter replay` takes
        #[arg(required = true, value_name = "RECORDING")]
        recordings: Vec<PathBuf>,
        /// How
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
        /// Name of the cluster that the recordings are from
        #[arg(long, default_value = "replay", value_name = "NAME")]
        cluster: String,
    },
}

/// `alerts`.
#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// Tell receivers of incidents, as the file of `alerts.file` says. One process for all clusters
    Run,
    /// Check a file of alerts, and say all that is wrong
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say who would be told of what, and tell nobody
    #[command(
        after_help = "Examples:\n  epicenter alerts test alerts.yaml events.json    what a recording would have told\n  \
                            epicenter alerts test alerts.yaml --incident epc-7f3k"
    )]
    Test {
        /// A file of alerts
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What `epicenter replay` takes; without any, the incidents of this installation
        #[arg(value_name = "RECORDING")]
        recordings: Vec<PathBuf>,
        /// Only incidents whose id begins so
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
        /// How: a line for each notice, or all that would be sent
        #[arg(short, long, value_enum, default_value_t = Document::Text)]
        output: Document,
        /// Name of the cluster that the recordings are from
        #[arg(long, default_value = "replay", value_name = "NAME")]
        cluster: String,
    },
}

/// `archive`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Archive {
    /// Archive Events and changes of incidents, of all clusters. One process does for all
    Run,
    /// Merge small files, and delete those that nobody needs
    Compact,
    /// Delete what is kept no longer, as archive.retention says
    Retain {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

/// What is asked for in the archive. Lists are parted by commas, and one of each has to fit.
#[derive(Debug, Clone, Default, Args)]
pub struct Asked {
    /// Log time, from then on: 2026-11-20T08:00:00Z, 2026-11-20 (UTC), or how long ago, such as 12h [default: 7d]
    #[arg(long, visible_alias = "since", value_name = "WHEN")]
    pub from: Option<String>,
    /// Log time, before then, likewise [default: now]
    #[arg(long, visible_alias = "until", value_name = "WHEN")]
    pub to: Option<String>,
    /// Clusters
    #[arg(long, value_name = "NAMES")]
    pub cluster: Option<String>,
    /// Namespaces of the object; of incidents, of their cause
    #[arg(short, long, value_name = "NAMES")]
    pub namespace: Option<String>,
    /// Kinds of the object
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<String>,
    /// Names of the object
    #[arg(long, value_name = "NAMES")]
    pub name: Option<String>,
    /// Reasons of Events
    #[arg(long, value_name = "REASONS")]
    pub reason: Option<String>,
    /// Categories, such as node or probe
    #[arg(long, value_name = "CATEGORIES")]
    pub category: Option<String>,
    /// Severities: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITIES")]
    pub severity: Option<String>,
    /// Classes, such as node.not_ready
    #[arg(long, value_name = "CLASSES")]
    pub class: Option<String>,
    /// Incidents, by the beginning of their ids: those, or the Events in them
    #[arg(long, value_name = "IDS")]
    pub incident: Option<String>,
    /// A text in the message or in the title
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
}

/// `query`.
#[derive(Debug, Clone, Subcommand)]
pub enum Query {
    /// Events, the newest first
    Events(Rows),
    /// Incidents that changed in that time, each as it was at its end, the newest change first
    Incidents(Rows),
    /// What one SELECT of the tables `events` and `incident_changes` answers, an object of JSON in each line
    Sql {
        /// The query, in DataFusion's SQL
        query: String,
    },
}

/// Rows of the archive.
#[derive(Debug, Clone, Args)]
pub struct Rows {
    /// What they must be.
    #[command(flatten)]
    pub asked: Asked,
    /// How many
    #[arg(long, default_value = "100")]
    pub limit: NonZeroU32,
    /// Go on after a page that ended with this cursor
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// How
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// `aggregate`.
#[derive(Debug, Clone, Args)]
pub struct Aggregate {
    /// Of what
    #[arg(value_enum)]
    pub of: Aggregated,
    /// What they must be.
    #[command(flatten)]
    pub asked: Asked,
    /// By cluster, namespace, kind, name, reason, category, severity, class, node, workload or state; several parted by commas
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub by: Vec<String>,
    /// And by stretches of time, such as 15m, 1h, 1d or 1w
    #[arg(long, value_name = "STRETCH")]
    pub every: Option<String>,
    /// How many groups
    #[arg(long, default_value = "100")]
    pub limit: NonZeroU32,
    /// How
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aggregated {
    /// Events
    Events,
    /// Incidents
    Incidents,
}

/// `report`.
#[derive(Debug, Clone, Args)]
pub struct Report {
    /// What it is about.
    #[command(flatten)]
    pub asked: Asked,
    /// In what form
    #[arg(short, long, value_enum, default_value_t = Form::Md)]
    pub output: Form,
}

/// What a report is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Markdown
    Md,
    /// One page that needs no other file
    Html,
    /// JSON
    Json,
}

/// `watch`. Lists are parted by commas, and one of each has to fit.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Clusters
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub cluster: Vec<String>,
    /// Namespaces that they touch
    #[arg(short, long, value_delimiter = ',', value_name = "NAMES")]
    pub namespace: Vec<String>,
    /// At least that severe: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<String>,
    /// Categories, such as node or probe
    #[arg(long, value_delimiter = ',', value_name = "CATEGORIES")]
    pub category: Vec<String>,
    /// How: a line for people, or an object of JSON in each line
    #[arg(short, long, value_enum, default_value_t = Lines::Text)]
    pub output: Lines,
}

/// How what is followed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// For people
    Text,
    /// An object of JSON in each line
    Json,
}

/// `incidents`.
#[derive(Debug, Args)]
pub struct Incidents {
    /// Those that are over, too
    #[arg(short, long)]
    pub all: bool,
    /// How
    #[arg(short, long, value_enum, default_value_t = Listing::Table)]
    pub output: Listing,
}

/// `sink`.
#[derive(Debug, Args)]
pub struct Sink {
    /// What to do
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub role: Role,
}

/// What a sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Both
    All,
    /// Publish the table of incidents, of all clusters
    Central,
    /// Write the Incident objects and Events of its own cluster
    Member,
}

/// `config`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Config {
    /// What is in force, as YAML-compatible JSON
    Show,
    /// Check it, and say all that is wrong
    Check,
    /// The defaults
    Defaults,
}

/// `topics`.
#[derive(Debug, Clone, Subcommand)]
pub enum Topics {
    /// Those that there should be
    List {
        /// How: a table, or KafkaTopic objects of Strimzi for `kubectl apply -f -`
        #[arg(short, long, value_enum, default_value_t = TopicListing::Table)]
        output: TopicListing,
    },
    /// Create those that are missing
    Create,
    /// Check those that there are
    Check,
    /// Let services go on that stand still because a topic was lost, with what is left; running services see it
    Recover {
        /// Only say what is lost
        #[arg(long)]
        dry_run: bool,
    },
    /// Move the installation to another number of partitions, into topics of another prefix. The old topics stay
    #[command(
        after_help = "Stop the exporters, let the other services read what there is, stop them, then\n  epicenter topics migrate \
                            --partitions 24 --to epicenter-24.\nand set bus.kafka.partitions and bus.kafka.prefix so for all services."
    )]
    Migrate {
        /// Partitions that it is to have
        #[arg(long, required_unless_present = "undo")]
        partitions: Option<u32>,
        /// The prefix of its topics, groups and transactional ids
        #[arg(long, value_name = "PREFIX", required_unless_present = "undo")]
        to: Option<String>,
        /// Open the installation again where it was
        #[arg(long, conflicts_with_all = ["partitions", "to"])]
        undo: bool,
    },
    /// Print the commands that allow each service what it needs, and no more, on brokers with an authorizer
    Acls {
        /// Of exporter, enricher, correlator, fleet, sink, sink-objects, intake, alerts, archive, topics, recovery, viewer [default: all]
        services: Vec<String>,
        /// The principal that is allowed [default: User:epicenter-SERVICE for each]
        #[arg(long)]
        principal: Option<String>,
    },
}

/// `schemas`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Schemas {
    /// Those that there should be, with their subjects
    List,
    /// Register those of this version that are missing: before its services start
    Register,
    /// Say what is not as the services of this version need it
    Check,
}

/// How topics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopicListing {
    /// A line each
    Table,
    /// An object each
    Strimzi,
}

/// How several incidents are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// A line each
    Table,
    /// A line each, with cause and cluster
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How one thing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// For people
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}
