//! `condor round`, `pause`, `resume`, `models exclude|include` and `audit`: the operator's hand and the record of it.

use std::sync::Arc;

use anyhow::bail;
use domain::{Clock, SystemClock, TimestampExt};
use nix::unistd::{Uid, User};
use storage::{Action, AuditEntry, Order, Store};

use super::UsageError;
use crate::cli::{AuditArgs, OrderArgs, SettingsArgs};
use crate::config::load;
use crate::store;

/// Where operating systems say who is logged in.
const USER_VARIABLES: [&str; 3] = ["USER", "LOGNAME", "USERNAME"];

/// Carries out an order and puts it on record.
pub async fn run(action: Action, args: OrderArgs) -> anyhow::Result<()> {
    let by = match args.by {
        Some(by) => by,
        None => user()?,
    };
    let store = open(&args.settings, false).await?;
    let what = describe(action.word(), action.subject().as_deref());
    let order = Order { at: SystemClock.now(), by, action, reason: args.reason };
    match store.carry_out(&order).await? {
        Ok(()) => {
            println!("{what}: done by {}", order.by);
            Ok(())
        }
        Err(why) => bail!("{what}: nothing changed: {why}"),
    }
}

/// Lists what is on record, the newest first.
pub async fn audit(args: AuditArgs) -> anyhow::Result<()> {
    for entry in open(&args.settings, true).await?.audit(args.limit).await? {
        if args.json {
            println!("{}", serde_json::to_string(&entry)?);
        } else {
            println!("{}", line(&entry));
        }
    }
    Ok(())
}

async fn open(settings: &SettingsArgs, read_only: bool) -> anyhow::Result<Arc<dyn Store>> {
    let url = load(settings.config.as_deref(), settings.database.as_deref())?.config.database.url;
    // Of an SQLite database that does not exist, a reader says so; a writer would make one.
    let reader = store::open_read_only(&url).await?;
    reader.check_schema().await?;
    Ok(if read_only { reader } else { store::open(&url).await? })
}

fn user() -> Result<String, UsageError> {
    let named =
        USER_VARIABLES.iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.or_else(login_name).ok_or_else(|| {
        UsageError("the operating system does not say who you are: say it with --by NAME".into())
    })
}

/// Of services and containers, whose environment names nobody.
fn login_name() -> Option<String> {
    User::from_uid(Uid::current()).ok().flatten().map(|user| user.name)
}

fn describe(action: &str, subject: Option<&str>) -> String {
    let words = action.replace('_', " ");
    subject.map_or(words.clone(), |subject| format!("{words} {subject}"))
}

fn line(entry: &AuditEntry) -> String {
    let what = describe(&entry.action, entry.subject.as_deref());
    format!("{}  {}  {what}: {}", entry.at.to_utc_string(), entry.by, entry.reason)
}
