//! `torpor watch`: shows the progress of an object until the cluster is as its spec asks.

mod progress;

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::watcher::{self, watch_object};
use tokio::time;

use self::progress::{Verdict, bar, judge, line};
use super::error::Error;
use super::find::{self, Found};
use super::name::Name;
use super::object::Object;
use super::paint::{Paint, Screen};
use super::table::clean;
use crate::apiserver::client::ClusterArgs;

/// Time between two drawings of the bar.
const TICK: Duration = Duration::from_secs(1);
/// The longest failure of the API server that a watch outlasts without a limit of its own.
const PATIENCE: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  torpor watch cornice                 show the progress until the Hibernation is as asked
  torpor watch mw/gpu --timeout 15m    fail after 15 minutes

On a terminal the command shows a bar, else one line for each change.

Exit status: 0 the object is as asked, 1 it is stalled, gone or not as asked within --timeout, 2 the arguments are invalid.";

/// Arguments of `torpor watch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The longest time to wait. Default: without a limit
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,

    /// The object: NAME, hib/NAME or mw/NAME
    #[arg(value_name = "NAME")]
    name: Name,
}

/// Parses `--timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "write a duration, for example 90s or 15m".to_owned())?;
    if duration <= SignedDuration::ZERO {
        return Err("write a duration of at least 1s, or leave out --timeout".to_owned());
    }
    Ok(duration.unsigned_abs())
}

/// Runs the command. Returns whether the object got where it was asked to be.
pub(super) async fn run(args: WatchArgs) -> Result<bool, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let found = find::one(&client, &namespace, &args.name).await?;
    follow(&client, &found.object, args.timeout).await
}

/// Follows an object until the cluster is as its spec asks. Returns whether it is.
pub(super) async fn follow(
    client: &Client,
    object: &Object,
    limit: Option<Duration>,
) -> Result<bool, Error> {
    let mut output = Output::new(Screen::stdout());
    let end = limit.map(|limit| time::Instant::now() + limit);
    let kind = object.kind();
    let api = find::api(client, kind, Some(object.namespace()));
    let mut changes = Box::pin(watch_object(api, object.name()));
    let mut known = object.clone();
    let mut failing: Option<time::Instant> = None;
    loop {
        let expired = async {
            match end {
                Some(end) => time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let change = tokio::select! {
            change = changes.next() => change,
            () = time::sleep(TICK), if output.screen.terminal => {
                output.draw(&known);
                continue;
            }
            () = expired => {
                let limit = SignedDuration::try_from(limit.unwrap_or_default()).unwrap_or_default();
                output.end(&format!(
                    "{} is not as asked after {}: {}",
                    known.display(),
                    super::when::span(limit),
                    progress::obstacle(&known)
                ), false);
                return Ok(false);
            }
        };
        match change {
            Some(Ok(Some(now))) => {
                failing = None;
                known = Found::parse(kind, serde_json::to_value(now)?)?.object;
            }
            Some(Ok(None)) => {
                let deleted = known.is_deleting();
                let what = if deleted { "is deleted" } else { "does not exist any more" };
                output.end(&format!("{} {what}", known.display()), deleted);
                return Ok(deleted);
            }
            // A watch ends now and then, and begins again.
            Some(Err(error)) => {
                let since = *failing.get_or_insert_with(time::Instant::now);
                if since.elapsed() > PATIENCE || is_refusal(&error) {
                    return Err(Error::Refused(format!(
                        "cannot watch {}: {error}",
                        known.display()
                    )));
                }
                time::sleep(TICK).await;
                continue;
            }
            None => return Err(Error::Refused(format!("the watch of {} ended", known.display()))),
        }
        output.show(&known);
        match judge(&known) {
            Verdict::Pending => {}
            Verdict::Reached(text) => {
                output.end(&text, true);
                return Ok(true);
            }
            Verdict::Failed(text) => {
                output.end(&text, false);
                return Ok(false);
            }
        }
    }
}

/// Returns whether the API server refuses the watch for good.
fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        watcher::Error::WatchError(status) => matches!(status.code, 401 | 403),
        _ => false,
    }
}

/// The output: a bar that is drawn again and again on a terminal, lines elsewhere.
struct Output {
    screen: Screen,
    last: String,
    drawn: bool,
}

impl Output {
    fn new(screen: Screen) -> Self {
        Self { screen, last: String::new(), drawn: false }
    }

    /// Shows an object that has changed.
    fn show(&mut self, object: &Object) {
        let text = clean(&line(object));
        if text != self.last {
            self.clear();
            let clock = Timestamp::now().to_zoned(jiff::tz::TimeZone::system());
            let clock = clock.strftime("%H:%M:%S").to_string();
            println!("{} {text}", self.screen.paint(&clock, Paint::Dim));
            self.last = text;
        }
        self.draw(object);
    }

    /// Draws the bar, on a terminal.
    fn draw(&mut self, object: &Object) {
        if !self.screen.terminal || judge(object) != Verdict::Pending {
            return;
        }
        let text = bar(object, Timestamp::now(), self.screen.width);
        self.clear();
        print!("{text}");
        self.drawn = true;
        // A terminal that is gone needs no bar.
        let _ = std::io::stdout().flush();
    }

    fn clear(&mut self) {
        if self.drawn {
            print!("\r\u{1b}[K");
            self.drawn = false;
        }
    }

    /// Shows the result.
    fn end(&mut self, text: &str, is_good: bool) {
        self.clear();
        let text = clean(text);
        let (mark, paint) = if is_good { ("✓", Paint::Green) } else { ("✗", Paint::Red) };
        println!("{} {text}", self.screen.paint(mark, paint));
    }
}
