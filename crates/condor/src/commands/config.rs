//! `condor config check`

use crate::cli::SettingsArgs;
use crate::config::load;

/// Prints the settings in force and where each came from.
pub fn check(args: &SettingsArgs, json: bool) -> anyhow::Result<()> {
    let settings = load(args.config.as_deref(), args.database.as_deref())?.settings();
    let width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    for setting in settings {
        if json {
            println!("{}", serde_json::to_string(&setting)?);
        } else {
            println!("{:width$} = {}  # {}", setting.key, setting.value, setting.source);
        }
    }
    Ok(())
}
