//! The kinds of the table that the API server does not serve, or that the operator may not list. The failure of
//! one kind is that kind's: everything else goes on, and the object says so.

use jiff::SignedDuration;

use super::draft::Draft;
use super::roles::kind_of;
use super::step::Step;
use crate::api::reason::Reason;
use crate::api::text::few;
use crate::apiserver::request::Error;
use crate::hold::lever::Kind;
use crate::hold::subject::Subject;

/// Time until a kind is listed again that the operator may not list.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Why objects of a kind cannot be observed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unavailable {
    /// The API server does not serve the kind.
    NotServed,
    /// The operator may not list the kind; the API server's answer.
    Refused(String),
    /// The list of a kind that the spec does not name failed, with an error that may pass.
    Failed(String),
}

/// The objects of a kind, and why they could not be listed.
type Listed = (Vec<Subject>, Option<(&'static str, Unavailable)>);

/// Returns the listed objects of a kind. There are none of a kind of the table that cannot be listed. Fails with an error
/// that may pass, of a built-in kind, or of one that the spec or the status names: without its objects a plan would be
/// wrong. Without those of another kind it is right, but for a truncation.
pub(super) fn sorted(
    kind: &'static Kind,
    listed: Result<Vec<Subject>, Error>,
    named: bool,
) -> Result<Listed, Error> {
    let why = match listed {
        Ok(subjects) => return Ok((subjects, None)),
        Err(error) if kind.entry.is_none() => return Err(error),
        Err(error) if error.is_not_found() => Unavailable::NotServed,
        Err(error) if error.code() == Some(403) => Unavailable::Refused(error.to_string()),
        Err(error) if named => return Err(error),
        Err(error) => Unavailable::Failed(error.to_string()),
    };
    Ok((Vec::new(), Some((kind.name, why))))
}

impl Unavailable {
    /// Returns cause, consequence and remedy.
    fn explain(&self, kind: &Kind, consequence: &str) -> String {
        let name = kind.name;
        match self {
            Self::NotServed => format!(
                "the cluster does not serve {name} of {}, {consequence}: install the project that has it, \
                 or remove the entry from spec.workloads",
                kind.api_version()
            ),
            Self::Refused(answer) => format!(
                "{name} cannot be listed, {consequence}: {answer}; grant the operator get, list, watch and \
                 patch on {}.{}, as templates/rbac.yaml of the chart does for its value kinds",
                kind.plural, kind.group
            ),
            Self::Failed(answer) => {
                format!("{name} cannot be listed, {consequence}: {answer}; Torpor lists it again")
            }
        }
    }
}

impl Draft<'_> {
    /// Returns a sentence for each kind that the spec names and that cannot be observed.
    pub(super) fn unavailable(&self) -> Vec<String> {
        let all = &self.input.observed.unavailable;
        let mut kinds: Vec<&Kind> = Vec::new();
        for entry in &self.input.spec.workloads {
            if !kinds.contains(&entry.kind) {
                kinds.push(entry.kind);
            }
        }
        let explain = |kind: &Kind| {
            Some(all.get(kind.name)?.explain(kind, &format!("so that no {} is held", kind.name)))
        };
        kinds.into_iter().filter_map(explain).collect()
    }

    /// Returns a sentence for each kind whose objects scale workloads, and that cannot be listed: one of them may scale a
    /// held workload up again. One that is not served has no objects.
    pub(super) fn unseen_scalers(&self) -> Vec<String> {
        let all = &self.input.observed.unavailable;
        Kind::workloads()
            .filter(|kind| kind.scales())
            .filter_map(|kind| Some((kind, all.get(kind.name)?)))
            .filter(|(_, why)| **why != Unavailable::NotServed)
            .map(|(kind, why)| why.explain(kind, "and one may scale a held workload up again"))
            .collect()
    }

    /// Returns when to list a kind again that could not be listed, and that matters. That a kind is served, a watch tells;
    /// that a right was granted, nothing.
    pub(super) fn lists_again(&self) -> Option<SignedDuration> {
        let all = &self.input.observed.unavailable;
        let refused = |kind: &Kind| matches!(all.get(kind.name), Some(Unavailable::Refused(_)));
        let named = self.input.spec.workloads.iter().any(|entry| refused(entry.kind));
        let truncates = self.truncate_settings().is_some();
        (named || truncates && !self.unseen_scalers().is_empty()).then_some(AGAIN)
    }

    /// Returns the keys of `status.originals` whose objects this operator cannot observe: their kind is not in its
    /// table, or it may not list the kind. Of a kind that is not served, there are no objects.
    pub(super) fn out_of_reach(&self) -> impl Iterator<Item = &String> {
        let unavailable = &self.input.observed.unavailable;
        self.input.state.originals.keys().filter(|key| {
            let kind = kind_of(key);
            Kind::any(kind).is_none()
                || matches!(unavailable.get(kind), Some(Unavailable::Refused(_)))
        })
    }

    /// Returns the obstacle to the end of a wake that objects out of reach are; none where there are none.
    pub(super) fn held_out_of_reach(&self) -> Option<Step> {
        let name = |key: &String| {
            let kind = kind_of(key);
            let why = if Kind::any(kind).is_none() {
                format!(
                    "the operator's table has no kind {kind}: add it to the chart's value kinds again"
                )
            } else {
                format!("the operator may not list {kind}: grant that")
            };
            let name = key.split('/').nth(1).unwrap_or_default();
            format!(
                "{kind} {name} is held and cannot be restored, because {why}, or restore it by `torpor release`"
            )
        };
        let all: Vec<String> = self.out_of_reach().map(name).collect();
        (!all.is_empty())
            .then(|| Step::Blocked { reason: Reason::KindUnavailable, message: few(&all) })
    }

    /// Returns what the spec misses although everything else is as it asks: kinds that cannot be observed, and
    /// workloads that another object scales.
    pub(super) fn warning(&self) -> Option<Step> {
        let unavailable = self.unavailable();
        if !unavailable.is_empty() {
            let message = few(&unavailable);
            return Some(Step::Blocked { reason: Reason::KindUnavailable, message });
        }
        let scaled = self.scaled_by();
        (!scaled.is_empty())
            .then(|| Step::Blocked { reason: Reason::ScaledBy, message: few(&scaled) })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::apiserver::request::call;

    /// Returns the outcome of a list that the API server answered with this code.
    async fn listed(kind: &str, code: u16, named: bool) -> Result<Listed, Error> {
        let status = Status { code, message: "no".to_owned(), ..Status::default() };
        let answer = async { Err::<Vec<Subject>, _>(kube::Error::Api(status.boxed())) };
        let kind = Kind::workload(kind).expect("it is known");
        sorted(kind, call(kind.plural, answer).await, named)
    }

    #[tokio::test]
    async fn a_list_that_fails_is_an_error_where_a_plan_without_it_would_be_wrong() {
        for named in [false, true] {
            for code in [403, 404, 500] {
                assert!(listed("Deployment", code, named).await.is_err(), "{code}");
            }
            let (_, why) = listed("ScaledObject", 404, named).await.expect("it is sorted");
            assert_eq!(why, Some(("ScaledObject", Unavailable::NotServed)));
            let (_, why) = listed("ScaledObject", 403, named).await.expect("it is sorted");
            assert!(matches!(why, Some((_, Unavailable::Refused(_)))), "{why:?}");
        }
        assert!(listed("ScaledObject", 500, true).await.is_err());
        let (_, why) = listed("ScaledObject", 500, false).await.expect("it is sorted");
        assert!(matches!(why, Some((_, Unavailable::Failed(_)))), "{why:?}");
    }
}
