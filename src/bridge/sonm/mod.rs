//! Bridge to a worker of the SONM marketplace, by way of a SONM Node's REST interface.
//!
//! The way through it: [`look`] puts together what binds from worker, chain and index, [`drain`]
//! takes plans off the market one by one, [`resume`] offers them again; all of them talk through
//! [`node`] in the words of [`wire`], hidden by [`envelope`].
//!
//! The worker has defects that are designed around, each named in `docs/bridges.md` and where it
//! matters here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use self::envelope::Envelope;
use self::node::Node;
use self::wire::{Address, Empty, Number};
use super::changes::Progress;
use super::{Error, Market};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{Commitments, Drain, Id, Order};

mod drain;
mod envelope;
mod look;
mod node;
mod resume;
mod wire;

/// What takes an announcement back: a time that is never reached. (An empty one would be 1970, and
/// the maintenance would begin at once.)
const NEVER: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// What follows the options in the help.
pub(super) const AFTER_HELP: &str = "\
Examples:
  By hand, beside a node that runs here:
      torpor bridge sonm --node http://127.0.0.1:15031 --worker 0x8125...@10.0.0.7:15010 \\
          --key-file master.key --listen 127.0.0.1:8080 --insecure-no-authentication --log-format text
  What binds:
      curl http://127.0.0.1:8080/v1/commitments
  sonmcli worker maintenance 12h35m20s:
      curl -X PUT http://127.0.0.1:8080/v1/maintenance -H 'Torpor-Epoch: 1' \\
          -H 'Content-Type: application/json' -d '{\"at\": \"2026-12-01T02:00:00Z\"}'

The key file holds the key of the node, which has to be the worker's master or admin: 64 hexadecimal digits.
Deals with a fixed term are never touched before it has run out.";

/// The node, the worker and the key.
#[derive(Clone, Debug, Args)]
pub struct SonmArgs {
    /// REST interface of the SONM Node
    #[arg(long, env = "TORPOR_BRIDGE_SONM_NODE", value_name = "URL")]
    pub node: String,

    /// The worker, as sonmcli takes it: 0xADDRESS, or 0xADDRESS@HOST:PORT to reach it directly
    #[arg(long, env = "TORPOR_BRIDGE_SONM_WORKER", value_name = "WORKER")]
    pub worker: String,

    /// File with the node's private key as 64 hexadecimal digits, with or without 0x
    #[arg(
        long,
        env = "TORPOR_BRIDGE_SONM_KEY_FILE",
        value_name = "FILE",
        required_unless_present = "insecure_node"
    )]
    pub key_file: Option<PathBuf>,

    /// The node runs with `allow_insecure_connection`: nothing is encrypted
    #[arg(long, env = "TORPOR_BRIDGE_SONM_INSECURE_NODE", conflicts_with = "key_file")]
    pub insecure_node: bool,

    /// How long one call to the node may take
    #[arg(long, env = "TORPOR_BRIDGE_SONM_CALL_TIMEOUT", value_name = "DURATION",
          default_value = "15s", value_parser = super::duration)]
    pub call_timeout: Duration,

    /// How long the removal of one plan may take: the worker waits for the chain meanwhile
    #[arg(long, env = "TORPOR_BRIDGE_SONM_REMOVAL_TIMEOUT", value_name = "DURATION",
          default_value = "5m", value_parser = super::duration)]
    pub removal_timeout: Duration,
}

/// A worker, through its node.
#[derive(Debug)]
pub struct Sonm {
    node: Node,
    worker: Address,
    /// How long a whole look may take: several calls, one after the other.
    look_patience: Duration,
    removal_patience: Duration,
    /// Tasks that the worker failed to end and lists no longer (defect 4).
    lost: Mutex<BTreeSet<Id>>,
    last: Mutex<Last>,
}

/// What the last look saw, for the next one to be held against.
#[derive(Clone, Debug, Default)]
struct Last {
    orders: BTreeSet<Number>,
    deals: BTreeSet<Number>,
}

impl Sonm {
    /// Checks what it is started with. Nothing is asked of the node yet.
    pub fn new(args: &SonmArgs) -> Result<Self, Error> {
        let wrong = |text: String| Error::Configuration(text);
        let (address, endpoint) = match args.worker.split_once('@') {
            None => (args.worker.as_str(), None),
            Some((address, endpoint)) => (address, Some(endpoint)),
        };
        let worker = Address::try_from(address.to_owned());
        let endpoint_fits = endpoint.is_none_or(|endpoint| {
            endpoint.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_graphic())
                    && port.parse::<u16>().is_ok()
            })
        });
        let (Ok(worker), true) = (worker, endpoint_fits) else {
            return Err(wrong("--worker is 0xADDRESS or 0xADDRESS@HOST:PORT".to_owned()));
        };
        let envelope = match &args.key_file {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    wrong(format!("--key-file {} cannot be read: {}", file.display(), error.kind()))
                })?;
                Some(Envelope::of_key_file(&text).map_err(|error| wrong(error.to_string()))?)
            }
        };
        let node = Node::new(&args.node, args.worker.clone(), envelope, args.call_timeout)
            .map_err(wrong)?;
        Ok(Self {
            node,
            worker,
            look_patience: args.call_timeout * 4,
            removal_patience: args.removal_timeout,
            lost: Mutex::default(),
            last: Mutex::default(),
        })
    }
}

impl Market for Sonm {
    async fn look(&self) -> Result<Commitments, Problem> {
        let look = tokio::time::timeout(self.look_patience, self.commitments());
        look.await.unwrap_or_else(|_| {
            Err(ProblemType::MarketTimeout
                .because("the node and the worker took too long to answer all"))
        })
    }

    async fn announce(&self, at: Option<Timestamp>) -> Result<(), Problem> {
        let at = match at {
            // The worker knows whole seconds, and must not begin before what was asked for.
            Some(at) => {
                Timestamp::from_second(at.as_second() + i64::from(at.subsec_nanosecond() > 0))
            }
            None => Timestamp::now().checked_add(NEVER),
        };
        let at = at.map_err(|_| ProblemType::InvalidRequest.because("the time is out of range"))?;
        let Empty {} = self.node.worker("ScheduleMaintenance", &at.to_string()).await?;
        Ok(())
    }

    async fn drain(&self, what: Drain, progress: Progress) {
        self.carry_out(&what, &progress).await;
    }

    async fn resume(&self, orders: Vec<Order>) -> Result<(), Problem> {
        self.offer_again(&orders).await
    }
}
