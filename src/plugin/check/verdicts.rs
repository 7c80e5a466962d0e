//! The verdict about each fact, with a hint. Pure.

use jiff::Timestamp;

use super::facts::{Answer, Facts};
use super::kinds::{Entry, Source};
use super::operator::Operator;
use crate::api::text::{counted, few};
use crate::apiserver::definitions;
use crate::hold::kinds::VARIABLE;
use crate::plugin::object::{Object, Standing};
use crate::plugin::program;
use crate::plugin::when::{relative, span};
use crate::version::VERSION;

/// The oldest API server: major and minor version.
const OLDEST: (u32, u32) = (1, 33);

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// All is well.
    Good,
    /// It needs attention, or could not be checked.
    Warning,
    /// It failed.
    Failed,
}

/// The result of one check.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// How it ended.
    pub(super) level: Level,
    /// The finding.
    pub(super) text: String,
    /// The remedy; empty where none is needed.
    pub(super) hint: String,
}

fn line(level: Level, text: impl Into<String>, hint: impl Into<String>) -> Line {
    Line { level, text: text.into(), hint: hint.into() }
}

fn good(text: impl Into<String>) -> Line {
    line(Level::Good, text, "")
}

/// Judges the facts. `namespace` is that of the user's projects.
pub(super) fn judge(facts: &Facts, namespace: &str, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![server(facts)];
    if facts.server.is_err() {
        // Nothing else can be asked.
        return lines;
    }
    lines.extend(definitions(facts));
    lines.extend(operators(facts, namespace, now));
    lines.push(policies(facts));
    lines.extend(rights(facts, namespace));
    lines.extend(objects(facts, namespace));
    lines
}

fn server(facts: &Facts) -> Line {
    match &facts.server {
        Err(error) => line(
            Level::Failed,
            format!("the API server does not answer: {error}"),
            "check KUBECONFIG, --context, and the network to the cluster",
        ),
        Ok((major, minor)) => {
            let text = format!("the API server is Kubernetes {major}.{minor}");
            // A provider may write `33+`.
            let number = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
            match number(major).zip(number(minor)) {
                Some(version) if version < OLDEST => line(
                    Level::Failed,
                    text,
                    format!("Torpor {VERSION} needs Kubernetes {}.{} or newer", OLDEST.0, OLDEST.1),
                ),
                _ => good(text),
            }
        }
    }
}

fn definitions(facts: &Facts) -> Vec<Line> {
    match &facts.definitions {
        Ok(missing) if missing.is_empty() => {
            vec![good(format!(
                "the definitions of Hibernation and MaintenanceWindow are those of torpor {VERSION}"
            ))]
        }
        Ok(missing) => missing
            .iter()
            .map(|problem| line(Level::Failed, problem, definitions::REMEDY))
            .collect(),
        Err(error) => {
            vec![line(Level::Warning, format!("cannot check the definitions: {error}"), "")]
        }
    }
}

fn operators(facts: &Facts, namespace: &str, now: Timestamp) -> Vec<Line> {
    match &facts.operators {
        Err(error) => vec![line(
            Level::Warning,
            format!("cannot look for the operator: {error}"),
            "set --operator-namespace to a namespace in which you may list Deployments and get Leases",
        )],
        Ok(operators) if operators.is_empty() => vec![line(
            Level::Failed,
            "there is no Deployment of the operator",
            "install the chart; or set --operator-namespace, if the operator runs elsewhere; an operator outside of the cluster \
             is not found",
        )],
        Ok(operators) => {
            operators.iter().flat_map(|operator| one_operator(operator, namespace, now)).collect()
        }
    }
}

fn one_operator(operator: &Operator, namespace: &str, now: Timestamp) -> Vec<Line> {
    let Operator {
        namespace: place,
        name,
        version,
        image,
        desired,
        ready,
        watched,
        lease,
        table,
        kinds,
    } = operator;
    let name = format!("the operator {place}/{name}");
    let replicas = format!("{ready} of {} ready", counted(*desired, "replica"));
    let mut lines = vec![if *ready == 0 {
        line(
            Level::Failed,
            format!("{name}: {replicas}"),
            format!(
                "kubectl describe pods --namespace {place}; /readyz and the log name what is missing"
            ),
        )
    } else if ready < desired {
        line(
            Level::Warning,
            format!("{name}: {replicas}"),
            format!("one replica is enough to work; kubectl get pods --namespace {place}"),
        )
    } else {
        good(format!("{name}: {replicas}"))
    }];
    match version.as_deref() {
        Some(version) if version == VERSION => {
            lines.push(good(format!("{name} has the version of this program, {VERSION}")));
        }
        Some(version) => lines.push(line(
            Level::Warning,
            format!("{name} has the version {version} (image {image}), and this program {VERSION}"),
            "use the program of the operator's version: the two may understand other fields",
        )),
        None => {}
    }
    if !watched.is_empty() && !watched.iter().any(|watched| watched == namespace) {
        lines.push(line(
            Level::Warning,
            format!("{name} does not work in namespace {namespace}, but in {}", few(watched)),
            "add the namespace to watchNamespaces in the values of the chart",
        ));
    }
    lines.push(match lease {
        None => line(
            Level::Warning,
            format!("the Lease of {name} does not exist, or you may not get it"),
            "a replica creates the Lease when it starts to lead",
        ),
        Some(term) if term.holder.is_empty() => line(
            Level::Failed,
            format!("no replica of {name} leads"),
            "a ready replica takes the Lease within seconds: see its log",
        ),
        Some(term) => {
            let age = term.renewed.map(|renewed| now.duration_since(renewed));
            let renewed = term.renewed.map(|renewed| relative(renewed, now));
            let renewed = renewed.unwrap_or_else(|| "never".to_owned());
            if age.is_none_or(|age| age.as_secs() > 2 * term.seconds) {
                line(
                    Level::Failed,
                    format!("{} leads by the Lease of {name}, and renewed it {renewed}", term.holder),
                    format!(
                        "the leader renews the Lease several times in {}: it has stopped, or does not reach the API server",
                        span(jiff::SignedDuration::from_secs(term.seconds))
                    ),
                )
            } else {
                good(format!("{} leads, and renewed the Lease {renewed}", term.holder))
            }
        }
    });
    if let Some((source, entries)) = table.as_ref().zip(kinds.as_ref()) {
        lines.extend(table_of_kinds(source, entries, &name, place));
    }
    lines
}

/// Judges the table of kinds of an operator in a namespace.
fn table_of_kinds(
    source: &Source,
    entries: &Answer<Vec<Entry>>,
    operator: &str,
    namespace: &str,
) -> Vec<Line> {
    let Source { config_map, key } = source;
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            return vec![line(
                Level::Warning,
                format!("cannot read the table of kinds of {operator}: {error}"),
                format!("ask for the right to get ConfigMap {config_map} in namespace {namespace}"),
            )];
        }
    };
    let names = |which: &dyn Fn(&Entry) -> bool| -> Vec<String> {
        let entries = entries.iter().filter(|entry| which(entry));
        entries.map(|entry| entry.kind.name.to_owned()).collect()
    };
    let mut lines = Vec::new();
    let usable = names(&|entry| entry.problems.is_empty());
    if !usable.is_empty() {
        lines.push(good(format!("{operator} holds kinds of other projects: {}", few(&usable))));
    }
    for entry in entries {
        lines.extend(entry.problems.iter().map(|problem| {
            let (name, cause) = (entry.kind.name, problem.cause(&entry.kind));
            let text = format!("kind {name} of the table of kinds: {cause}");
            line(Level::Warning, text, problem.remedy(&entry.kind))
        }));
    }
    let unknown = names(&|entry| !entry.is_known());
    if !unknown.is_empty() {
        lines.push(line(
            Level::Warning,
            format!("this program does not have the entries of {operator} for {}", few(&unknown)),
            format!(
                "set {VARIABLE} to a file with its table: kubectl get configmap {config_map} --namespace {namespace} \
                 --output=jsonpath='{{.data.{}}}'",
                key.replace('.', "\\.")
            ),
        ));
    }
    lines
}

fn policies(facts: &Facts) -> Line {
    match &facts.policies {
        Ok((policies, bindings)) if *policies > 0 && *bindings > 0 => {
            good("the admission policy checks the rights of authors")
        }
        Ok((0, _)) => line(
            Level::Warning,
            "there is no admission policy: whoever may write a Hibernation acts with the rights of the operator",
            "set admissionPolicy.enabled in the values of the chart",
        ),
        Ok(_) => line(
            Level::Failed,
            "the admission policy has no binding: it checks nothing",
            "install the chart again, which brings the ValidatingAdmissionPolicyBinding",
        ),
        Err(error) => {
            line(Level::Warning, format!("cannot look for the admission policy: {error}"), "")
        }
    }
}

fn rights(facts: &Facts, namespace: &str) -> Vec<Line> {
    match &facts.lacking {
        Err(error) => vec![line(Level::Warning, format!("cannot check your rights: {error}"), "")],
        Ok(lacking) => lacking
            .iter()
            .map(|lack| {
                let purpose = lack.purpose;
                if lack.rights.is_empty() {
                    return good(format!("you may {purpose} in namespace {namespace}"));
                }
                line(
                    Level::Warning,
                    format!("you may not {purpose} in namespace {namespace}"),
                    format!("ask for the right to {}", lack.rights.join("; ")),
                )
            })
            .collect(),
    }
}

fn objects(facts: &Facts, namespace: &str) -> Vec<Line> {
    let objects = match &facts.objects {
        Ok(objects) => objects,
        Err(error) => {
            return vec![line(Level::Warning, format!("cannot list the objects: {error}"), "")];
        }
    };
    let mut lines = Vec::new();
    let mut names = |which: &dyn Fn(&Object) -> bool, level, what: &str, hint: &str| {
        let names: Vec<String> =
            objects.iter().filter(|object| which(object)).map(Object::argument).collect();
        if !names.is_empty() {
            let verb = if names.len() == 1 { "is" } else { "are" };
            lines.push(line(level, format!("{} {verb} {what}", few(&names)), hint));
        }
    };
    let remedy = format!("{} status --namespace {namespace} NAME says why", program());
    names(&Object::is_stalled, Level::Warning, "stalled", &remedy);
    let unobserved = |object: &Object| object.standing() == Standing::Unobserved;
    let hint = "an operator that works in this namespace observes an object within seconds";
    names(&unobserved, Level::Warning, "not observed by the operator", hint);
    if lines.is_empty() {
        lines.push(good(match objects.len() {
            0 => format!(
                "namespace {namespace} has no Hibernation and no MaintenanceWindow that you see"
            ),
            count => {
                format!("namespace {namespace} has {}, none stalled", counted(count, "object"))
            }
        }));
    }
    lines
}
