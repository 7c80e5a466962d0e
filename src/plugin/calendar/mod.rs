//! `torpor calendar`: the transitions to come, as a table and as a drawn week.

mod render;
mod timeline;

use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::error::Error;
use super::find;
use super::name::Name;
use super::paint::Screen;
use crate::apiserver::client::ClusterArgs;

const EXAMPLES: &str = "\
Examples:
  torpor calendar cornice                        the next 14 days
  torpor calendar cornice --days 90              the next 90 days
  torpor calendar --filename hibernation.yaml    those of a manifest that is not applied yet
  helm template . | torpor calendar cornice -f - those of one manifest among many

Times are those of the time zone of the schedule, with its clock changes. The command asks no cluster for a file.";

/// Arguments of `torpor calendar`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CalendarArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The number of days
    #[arg(long, value_name = "NUMBER", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,

    /// Manifest with the object; - is the standard input. The cluster is not asked
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,

    /// The object: NAME, hib/NAME or mw/NAME. With --filename it may be left out if the file has one object only
    #[arg(value_name = "NAME", required_unless_present = "filename")]
    name: Option<Name>,
}

/// Runs the command. Returns the output.
pub(super) async fn run(args: CalendarArgs) -> Result<String, Error> {
    let CalendarArgs { cluster, days, filename, name } = args;
    let object = match (filename, name) {
        (Some(file), name) => find::in_file(&file, name.as_ref())?,
        (None, Some(name)) => {
            let (client, namespace) = cluster.connect().await?;
            find::one(&client, &namespace, &name).await?.object
        }
        (None, None) => return Err(Error::refused("write NAME or --filename")),
    };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let zone = object.zone().unwrap_or_else(TimeZone::system);
    let end = now + SignedDuration::from_hours(24 * i64::from(days));
    let timeline = timeline::of(&object, now, end)
        .map_err(|error| Error::Refused(format!("{}: {error}", object.display())))?;
    Ok(render::render(&object, &timeline, &zone, Screen::stdout()))
}
