//! The JSON types of the SONM Node, as Go's `encoding/json` writes them with `omitempty`: zero scalars
//! are absent, big numbers are decimal strings, enums are numbers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `{}`, the empty request and the empty answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

/// The message `ID`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    pub(super) id: String,
}

/// A `BigInt` that is an id on the chain. Zero means that there is no id.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub(super) struct Number(String);

impl TryFrom<String> for Number {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let digits = (1..=78).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.starts_with('0') && text != "0") {
            return Err("a big number is written as a decimal string");
        }
        Ok(Self(text))
    }
}

impl Number {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `None` for zero.
    pub(super) fn given(self) -> Option<Self> {
        (self.0 != "0").then_some(self)
    }
}

/// The used fields of `StatusReply`. The address distinguishes a worker's answer from `{}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) eth_addr: Address,
    #[serde(default)]
    pub(super) task_count: u32,
}

/// `AskPlansReply`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AskPlans {
    #[serde(default)]
    pub(super) ask_plans: BTreeMap<String, Plan>,
}

/// `AskPlan`: the used fields, and the whole plan, which is offered again unchanged.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct Plan {
    pub(super) order: Option<Number>,
    pub(super) deal: Option<Number>,
    /// `PENDING_DELETION`: the worker has marked the plan, which cannot be undone.
    pub(super) pending_deletion: bool,
    id: Option<String>,
    whole: Map<String, Value>,
}

#[derive(Deserialize)]
struct PlanFields {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "orderID")]
    order: Option<Number>,
    #[serde(rename = "dealID")]
    deal: Option<Number>,
    #[serde(default)]
    status: u8,
}

/// The fields that the worker sets itself. `CreateAskPlan` refuses them.
const GIVEN_BY_WORKER: [&str; 6] =
    ["ID", "orderID", "dealID", "status", "createTime", "lastOrderPlacedTime"];

impl TryFrom<Map<String, Value>> for Plan {
    type Error = String;

    fn try_from(whole: Map<String, Value>) -> Result<Self, String> {
        let fields = PlanFields::deserialize(Value::Object(whole.clone()))
            .map_err(|error| error.to_string())?;
        if fields.status > 1 {
            return Err(format!("an ask plan has the unknown status {}", fields.status));
        }
        Ok(Self {
            order: fields.order.and_then(Number::given),
            deal: fields.deal.and_then(Number::given),
            pending_deletion: fields.status == 1,
            id: fields.id,
            whole,
        })
    }
}

impl Plan {
    /// Returns whether the plan's id, if the plan has one, is `id`.
    pub(super) fn is(&self, id: &str) -> bool {
        self.id.as_deref().is_none_or(|own| own == id)
    }

    /// Returns the plan for `CreateAskPlan`, unknown fields included.
    pub(super) fn offer(&self) -> Map<String, Value> {
        let mut offer = self.whole.clone();
        offer.retain(|key, _| !GIVEN_BY_WORKER.contains(&key.as_str()));
        offer
    }
}

/// Returns the same text for equal JSON: sorted keys, no spaces.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(entries) => {
            let entries: Vec<String> = entries.iter().map(canonical).collect();
            format!("[{}]", entries.join(","))
        }
        other => other.to_string(),
    }
}

/// The used fields of `Order`.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) id: Number,
    #[serde(rename = "dealID")]
    pub(super) deal: Option<Number>,
    #[serde(default, rename = "orderStatus")]
    status: u8,
}

impl Order {
    /// Returns whether the order is on the market (`ORDER_ACTIVE`).
    pub(super) fn is_active(&self) -> bool {
        self.status == 2
    }
}

/// `DealsRequest`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DealsRequest<'a> {
    pub(super) status: u8,
    #[serde(rename = "supplierID")]
    pub(super) supplier: &'a Address,
    pub(super) limit: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) offset: usize,
    pub(super) with_count: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// `DWHDealsReply`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DealsReply {
    #[serde(default)]
    pub(super) deals: Vec<DealReply>,
    #[serde(default)]
    pub(super) count: usize,
}

/// The used field of `DWHDeal` and of `DealInfoReply`.
#[derive(Debug, Deserialize)]
pub(super) struct DealReply {
    pub(super) deal: Deal,
}

/// `Deal.status` of a deal in force.
pub(super) const ACCEPTED: u8 = 1;
/// `Deal.status` of a closed deal.
pub(super) const CLOSED: u8 = 2;

/// `Deal`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deal {
    pub(super) id: Number,
    #[serde(rename = "supplierID")]
    pub(super) supplier: Address,
    #[serde(rename = "consumerID")]
    pub(super) consumer: Address,
    /// The term in seconds; 0 for a Spot deal.
    #[serde(default)]
    pub(super) duration: u64,
    pub(super) start_time: Timestamp,
    #[serde(default)]
    pub(super) status: u8,
}

impl Deal {
    /// Returns the end of the deal's term, at most `Timestamp::MAX`, or `None` for a Spot deal. The term
    /// of the deal's plan does not count: the plan may have offered more.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        let term = i64::try_from(self.duration).unwrap_or(i64::MAX);
        (term > 0).then(|| {
            self.start_time.checked_add(SignedDuration::from_secs(term)).unwrap_or(Timestamp::MAX)
        })
    }
}

/// `TaskListReply`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tasks {
    #[serde(default)]
    pub(super) info: BTreeMap<String, Task>,
}

/// `TaskStatusReply`.
#[derive(Debug, Deserialize)]
pub(super) struct Task {
    #[serde(default)]
    pub(super) status: u8,
}

impl Task {
    /// Returns whether the status is FINISHED, BROKEN or `KILLED_OOM`. An unknown status counts as open.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status, 4..=6)
    }
}

/// `DealsFinishRequest` for one deal. The blacklist type is 0 (nobody), so it is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FinishRequest<'a> {
    pub(super) deal_info: [FinishOne<'a>; 1],
}

/// `DealFinishRequest`.
#[derive(Debug, Serialize)]
pub(super) struct FinishOne<'a> {
    pub(super) id: &'a Number,
}

/// `ErrorByID`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FinishReply {
    #[serde(default)]
    pub(super) response: Vec<Finished>,
}

/// The result for one deal. An empty error means success.
#[derive(Debug, Deserialize)]
pub(super) struct Finished {
    pub(super) id: Number,
    #[serde(default)]
    pub(super) error: String,
}

/// An Ethereum address: `0x` and 40 hexadecimal digits, compared without case.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Address(String);

impl TryFrom<String> for Address {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
        match digits {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Self(text)),
            _ => Err("an address is 0x and 40 hexadecimal digits"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Address {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_offer_keeps_all_but_the_fields_that_the_worker_sets() {
        let plan: Plan = serde_json::from_value(json!({
            "ID": "p", "orderID": "12", "dealID": "0", "status": 1, "createTime": "2026-01-01T00:00:00Z",
            "lastOrderPlacedTime": "2026-01-01T00:00:00Z", "price": {"perSecond": "7"},
            "resources": {"cpu": {"core_percents": 100}}, "unknown": [{"b": 1, "a": null}],
        }))
        .unwrap();
        assert_eq!(
            (plan.order.clone().unwrap().as_str(), plan.deal.clone(), plan.pending_deletion),
            ("12", None, true)
        );
        assert!(plan.is("p") && !plan.is("q"));
        let text = canonical(&Value::Object(plan.offer()));
        assert_eq!(
            text,
            r#"{"price":{"perSecond":"7"},"resources":{"cpu":{"core_percents":100}},"unknown":[{"a":null,"b":1}]}"#
        );
    }

    #[test]
    fn an_invalid_plan_is_an_error() {
        for plan in
            [json!({"status": 2}), json!({"dealID": 34}), json!({"dealID": "-1"}), json!([])]
        {
            assert!(serde_json::from_value::<Plan>(plan.clone()).is_err(), "{plan}");
        }
    }

    #[test]
    fn the_term_is_the_deals_and_zero_is_open() {
        let deal = |duration: Value| {
            let mut deal = json!({
                "id": "34", "supplierID": format!("0x{}", "a".repeat(40)),
                "consumerID": format!("0x{}", "b".repeat(40)),
                "startTime": "2026-01-01T00:00:00Z", "status": 1,
            });
            if !duration.is_null() {
                deal["duration"] = duration;
            }
            serde_json::from_value::<Deal>(deal).unwrap().ends_at()
        };
        assert_eq!(deal(Value::Null), None);
        assert_eq!(deal(json!(0)), None);
        assert_eq!(deal(json!(3600)), Some("2026-01-01T01:00:00Z".parse().unwrap()));
        assert_eq!(deal(json!(u64::MAX)), Some(Timestamp::MAX));
    }

    #[test]
    fn an_unknown_status_is_not_an_end() {
        let open: Vec<u8> = (0..=9).filter(|&status| !Task { status }.has_ended()).collect();
        assert_eq!(open, [0, 1, 2, 3, 7, 8, 9]);
    }

    #[test]
    fn invalid_answers_are_errors() {
        assert!(serde_json::from_value::<Status>(json!({})).is_err());
        assert!(serde_json::from_value::<AskPlans>(json!({"error": "x"})).is_err());
        assert!(serde_json::from_value::<AskPlans>(json!({"askPlans": null})).is_err());
        assert!(serde_json::from_value::<DealsReply>(json!({"deal": []})).is_err());
        assert!(serde_json::from_value::<Tasks>(json!({"tasks": {}})).is_err());
        assert!(serde_json::from_value::<Order>(json!({})).is_err());
    }
}
