//! What goes wrong between a client and the market, on request.

use serde::{Deserialize, Serialize};

use crate::rest::error::{Code, RpcError};

/// What goes wrong at the moment. As a whole it is set by the control interface; the default is nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Whether the Node can be reached.
    pub node: Reach,
    /// The DWH alone can't be reached.
    pub dwh_down: bool,
    /// The Node has another key than its clients.
    pub wrong_key: bool,
    /// The milliseconds that a call waits before anything is done.
    pub delay_ms: u64,
    /// What comes back instead of what was said.
    pub answer: Answer,
    /// The calls that `delay_ms` and `answer` are for, as `Service/Method`; none: all.
    pub methods: Vec<String>,
    /// Calls that fail.
    pub errors: Vec<Scripted>,
}

/// How the Node answers at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    #[default]
    Up,
    /// Nothing listens.
    Refused,
    /// It listens, and answers 503.
    Unavailable,
}

/// What an answer is made into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    #[default]
    True,
    /// `{}` with status 200.
    Empty,
    /// The first half of the text.
    Truncated,
}

/// An error in answer to a method.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// `Service/Method`.
    pub method: String,
    #[serde(default = "Code::unknown")]
    pub code: Code,
    pub message: String,
    /// How often it is left to happen.
    #[serde(default = "once")]
    pub times: u64,
    /// The call is carried out all the same.
    #[serde(default)]
    pub after: bool,
}

fn once() -> u64 {
    1
}

/// What goes wrong with one call.
pub struct Upset {
    pub node: Reach,
    pub wrong_key: bool,
    pub delay_ms: u64,
    pub answer: Answer,
    pub error: Option<(RpcError, When)>,
}

/// When a scripted error comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

impl Faults {
    /// What goes wrong with this call; a scripted error is used up by it.
    pub fn meet(&mut self, method: &str) -> Upset {
        let concerned = self.methods.is_empty() || self.methods.iter().any(|name| name == method);
        let scripted = self
            .errors
            .iter_mut()
            .find(|scripted| scripted.method == method && scripted.times > 0)
            .filter(|_| self.node == Reach::Up);
        let error = scripted.map(|scripted| {
            scripted.times -= 1;
            let when = if scripted.after { When::After } else { When::Before };
            (RpcError::new(scripted.code, scripted.message.clone()), when)
        });
        Upset {
            node: self.node,
            wrong_key: self.wrong_key,
            delay_ms: if concerned { self.delay_ms } else { 0 },
            answer: if concerned { self.answer } else { Answer::True },
            error,
        }
    }
}
