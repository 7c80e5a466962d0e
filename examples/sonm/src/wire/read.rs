//! Requests.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::write::Message;
use crate::model::index::Query;
use crate::model::{Address, Terms};

/// The fields of a message.
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A message is a JSON object.
    pub fn of(value: &'a Value) -> Result<Self, String> {
        value.as_object().map(Self).ok_or_else(|| format!("json: {value} is no message"))
    }

    /// A field that is set.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let mut alike = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = self.0.get(name).or_else(|| alike.next().map(|(_, value)| value));
        value.filter(|value| !value.is_null())
    }

    pub fn message(&self, name: &str) -> Result<Option<Fields<'a>>, String> {
        self.get(name).map(Self::of).transpose()
    }

    pub fn text(&self, name: &str) -> Result<&'a str, String> {
        self.get(name).map_or(Ok(""), |value| value.as_str().ok_or_else(|| wrong(name, value)))
    }

    pub fn number(&self, name: &str) -> Result<u64, String> {
        self.get(name).map_or(Ok(0), |value| value.as_u64().ok_or_else(|| wrong(name, value)))
    }

    pub fn flag(&self, name: &str) -> Result<bool, String> {
        self.get(name).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| wrong(name, value)))
    }

    pub fn address(&self, name: &str) -> Result<Option<Address>, String> {
        self.get(name)
            .map(|value| {
                let text = value.as_str().ok_or_else(|| wrong(name, value))?;
                Address::try_from(text.to_owned())
            })
            .transpose()
    }

    /// A `BigInt` that is the number of an order or deal.
    pub fn id(&self, name: &str) -> Result<Option<u64>, String> {
        self.get(name).map(|value| big_id(value).map_err(|_| wrong(name, value))).transpose()
    }
}

fn wrong(name: &str, value: &Value) -> String {
    format!("json: cannot unmarshal {value} into field {name}")
}

/// A `BigInt`: its decimal digits without leading zeros.
pub fn big(value: &Value) -> Result<String, String> {
    let digits = value.as_str().filter(|text| {
        !text.is_empty() && text.bytes().all(|character| character.is_ascii_digit())
    });
    let digits = digits.ok_or_else(|| format!("json: {value} is no BigInt"))?;
    let digits = digits.trim_start_matches('0');
    Ok(if digits.is_empty() { "0" } else { digits }.to_owned())
}

/// A `BigInt` that is the number of an order or deal.
pub fn big_id(value: &Value) -> Result<u64, String> {
    big(value)?.parse().map_err(|_| format!("json: {value} is no number of an order or deal"))
}

/// A `Timestamp`; unset, it is the beginning of 1970.
pub fn timestamp(value: &Value) -> Result<Timestamp, String> {
    match value {
        Value::Null => Ok(Timestamp::UNIX_EPOCH),
        Value::String(text) => {
            text.parse().map_err(|error| format!("parsing time {text:?}: {error}"))
        }
        other => Err(format!("json: {other} is no Timestamp")),
    }
}

/// What of an `AskPlan` its owner writes.
pub fn terms(plan: &Fields<'_>) -> Result<Terms, String> {
    let duration = plan.message("duration")?;
    let price = plan.message("price")?.and_then(|price| price.get("perSecond"));
    let tag = plan.text("tag")?;
    if !is_base64(tag) {
        return Err(format!("illegal base64 data in tag {tag:?}"));
    }
    Ok(Terms {
        duration_ns: duration.map_or(Ok(0), |duration| duration.number("nanoseconds"))?,
        price: price.map_or(Ok("0".to_owned()), big)?,
        blacklist: plan.address("blacklist")?,
        counterparty: plan.address("counterparty")?,
        identity: plan.number("identity")?,
        tag: tag.to_owned(),
        resources: plan
            .message("resources")?
            .map_or(Ok(Value::Null), |fields| resources(&fields))?,
    })
}

/// Resources are kept as they are, except that the worker knows the processor's share under the one
/// name `core_percents`, which is not like the others: by another it is lost.
fn resources(fields: &Fields<'_>) -> Result<Value, String> {
    let mut kept = fields.0.clone();
    for (name, value) in &mut kept {
        if name.eq_ignore_ascii_case("cpu") {
            let share = Fields::of(value)?.number("core_percents")?;
            *value = Message::new().number("core_percents", share).into();
        }
    }
    Ok(kept.into())
}

/// An `AskPlan` that is to be made: nothing that the worker itself sets may be set.
pub fn new_plan(body: &Value) -> Result<Terms, String> {
    let plan = Fields::of(body)?;
    for name in ["ID", "orderID", "dealID", "createTime", "lastOrderPlacedTime"] {
        if plan.get(name).is_some_and(|value| *value != Value::String(String::new())) {
            return Err(format!("ask plan can not be created with {name} set"));
        }
    }
    terms(&plan)
}

/// A `DealsRequest`, with its limit and offset.
pub fn deals_request(body: &Value) -> Result<(Query, u64, u64, bool), String> {
    let fields = Fields::of(body)?;
    let query = Query {
        status: fields.number("status")?,
        supplier: fields.address("supplierID")?,
        consumer: fields.address("consumerID")?,
        master: fields.address("masterID")?,
        anyone: fields.address("anyUserID")?,
        ask: fields.id("askID")?,
        bid: fields.id("bidID")?,
    };
    Ok((query, fields.number("limit")?, fields.number("offset")?, fields.flag("withCount")?))
}

/// Base64 of the standard alphabet, padded.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}
