//! Models that leave the field. No change in the database tells of it: time passes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{Model, ModelId};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::herald::{MOST, ModelEvent};
use crate::presence::Presence;

/// Between two looks at who is there.
const EVERY: Duration = Duration::from_secs(1);

/// Tells who leaves, until `shutdown`.
pub(crate) async fn follow(app: Arc<App>, shutdown: CancellationToken) {
    let watch = async {
        let mut present = BTreeSet::new();
        loop {
            tell(&app, &mut present).await;
            tokio::time::sleep(EVERY).await;
        }
    };
    shutdown.run_until_cancelled(watch).await;
}

/// Tells who of those that were `present` has left since, and notes who is.
async fn tell(app: &App, present: &mut BTreeSet<ModelId>) {
    // While models cannot be read nobody knows.
    let Ok(models) = app.reader.models().await else { return };
    let (now, leave_after) = (app.clock.now(), app.settings().0.leave_after);
    let has_left = |model: &&Model| Presence::of(model, now, leave_after) == Presence::Left;
    let is_news = |model: &&Model| present.contains(&model.id);
    for model in models.iter().filter(has_left).filter(is_news).take(MOST) {
        app.events.tell("model", &ModelEvent::new(model, "left"));
    }
    *present = models.iter().filter(|model| !has_left(model)).map(|model| model.id.clone()).collect();
}
