//! Bridge to a worker of the SONM marketplace, through the REST interface of a SONM Node.
//!
//! [`observe`] puts the commitments together from worker, chain and index. [`drain`] removes plans one by
//! one. [`resume`] offers them again. All three call the Node through [`node`] with the types of [`wire`],
//! encrypted by [`envelope`].
//!
//! The worker has eight known defects. `docs/bridges.md` numbers them; comments here refer to the numbers.

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
use super::signature::Secret;
use super::{Error, Market};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{Commitments, Drain, Id, Order};

mod drain;
mod envelope;
mod node;
mod observe;
mod resume;
mod wire;

/// Withdrawing an announcement announces a time this far away. The worker reads an empty time as 1970
/// and would begin the maintenance at once.
const NEVER: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// The end of the help of `torpor bridge sonm`.
pub(super) const AFTER_HELP: &str = "\
Examples:
  Try it by hand, with a Node on this machine:
      torpor bridge sonm --node http://127.0.0.1:15031 --worker 0x8125...@10.0.0.7:15010 \\
          --key-file master.key --listen 127.0.0.1:8080 --insecure-no-authentication --log-format text
  List the open deals, orders and tasks:
      curl http://127.0.0.1:8080/v1/commitments
  Announce a maintenance, like sonmcli worker maintenance 12h35m20s:
      curl -X PUT http://127.0.0.1:8080/v1/maintenance -H 'Torpor-Epoch: 1' \\
          -H 'Content-Type: application/json' -d '{\"at\": \"2026-12-01T02:00:00Z\"}'

The key file holds the node's key as 64 hexadecimal digits. The key must belong to the worker's master or
admin. The bridge never closes a deal before its fixed term has ended.";

/// The flags of `torpor bridge sonm`.
#[derive(Clone, Debug, Args)]
pub(super) struct SonmArgs {
    /// URL of the SONM Node's REST interface: `http://HOST:PORT`
    #[arg(long, env = "TORPOR_BRIDGE_SONM_NODE", value_name = "URL")]
    node: String,

    /// The worker, as for sonmcli: 0xADDRESS, or 0xADDRESS@HOST:PORT to connect to it directly
    #[arg(long, env = "TORPOR_BRIDGE_SONM_WORKER", value_name = "WORKER")]
    worker: String,

    /// File with the node's private key as 64 hexadecimal digits, with or without 0x
    #[arg(
        long,
        env = "TORPOR_BRIDGE_SONM_KEY_FILE",
        value_name = "FILE",
        required_unless_present = "insecure_node"
    )]
    key_file: Option<PathBuf>,

    /// Call the node unencrypted: it runs with `allow_insecure_connection`
    #[arg(long, env = "TORPOR_BRIDGE_SONM_INSECURE_NODE", conflicts_with = "key_file")]
    insecure_node: bool,

    /// Timeout for one call to the node
    #[arg(long, env = "TORPOR_BRIDGE_SONM_CALL_TIMEOUT", value_name = "DURATION",
          default_value = "15s", value_parser = super::duration)]
    call_timeout: Duration,

    /// Timeout for the removal of one plan, during which the worker waits for the chain
    #[arg(long, env = "TORPOR_BRIDGE_SONM_REMOVAL_TIMEOUT", value_name = "DURATION",
          default_value = "5m", value_parser = super::duration)]
    removal_timeout: Duration,
}

/// The bridge: a worker, and the node that leads to it.
#[derive(Debug)]
pub(super) struct Sonm {
    node: Node,
    /// The secret of the key file.
    secret: Option<Secret>,
    worker: Address,
    /// Timeout for a whole observation, which makes several calls in sequence.
    observation_timeout: Duration,
    removal_timeout: Duration,
    /// Tasks that the worker failed to end and no longer lists (defect 4).
    lost: Mutex<BTreeSet<Id>>,
    last: Mutex<LastObservation>,
}

/// The orders and deals of the last observation, which the next observation is checked against.
#[derive(Clone, Debug, Default)]
struct LastObservation {
    orders: BTreeSet<Number>,
    deals: BTreeSet<Number>,
}

impl Sonm {
    /// Creates the bridge from its flags, without a call to the node.
    pub(super) fn new(args: &SonmArgs) -> Result<Self, Error> {
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
            return Err(wrong(
                "--worker is invalid: write 0xADDRESS or 0xADDRESS@HOST:PORT".to_owned(),
            ));
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
        let secret = envelope.as_ref().map(Envelope::secret);
        let node = Node::new(&args.node, args.worker.clone(), envelope, args.call_timeout)
            .map_err(wrong)?;
        Ok(Self {
            node,
            secret,
            worker,
            observation_timeout: args.call_timeout * 4,
            removal_timeout: args.removal_timeout,
            lost: Mutex::default(),
            last: Mutex::default(),
        })
    }
}

impl Market for Sonm {
    async fn observe(&self) -> Result<Commitments, Problem> {
        let observation = tokio::time::timeout(self.observation_timeout, self.commitments());
        observation.await.unwrap_or_else(|_| {
            Err(ProblemType::MarketTimeout.because("the node and the worker did not answer all calls in time (four times --call-timeout)"))
        })
    }

    async fn announce(&self, at: Option<Timestamp>) -> Result<(), Problem> {
        let at = match at {
            // The worker takes whole seconds, and must not begin before the announced time.
            Some(at) => {
                Timestamp::from_second(at.as_second() + i64::from(at.subsec_nanosecond() > 0))
            }
            None => Timestamp::now().checked_add(NEVER),
        };
        let at = at.map_err(|_| {
            ProblemType::InvalidRequest.because("the time of the maintenance is out of range")
        })?;
        let Empty {} = self.node.worker("ScheduleMaintenance", &at.to_string()).await?;
        Ok(())
    }

    async fn drain(&self, drain: Drain, progress: Progress) {
        self.carry_out(&drain, &progress).await;
    }

    fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    async fn resume(&self, orders: Vec<Order>) -> Result<(), Problem> {
        self.offer_again(&orders).await
    }
}
