use std::collections::BTreeSet;

use domain::{Asset, LeaderboardEntry, PerWindow, RankingGroup, RoundState, Span, WindowScore};

use super::*;
use crate::commands::replay::coverage::Reason;

const HOSTILE: &str = "<script>alert('&\"')</script>";

fn at(hours: u32) -> Timestamp {
    "2025-05-20T00:00:00Z".parse::<Timestamp>().unwrap() + Span::hours(hours)
}

fn summary() -> Summary {
    let place = Place {
        rank: Some(1),
        model_id: ModelId::new(HOSTILE).unwrap(),
        recent: Some(0.5),
        steady: Some(0.6),
        anchor: Some(0.75),
        raw_anchor: None,
        baseline: false,
    };
    let coverage = Coverage {
        asset: Asset::new("XAU").unwrap(),
        rounds: 10,
        scored: 5,
        void: 1,
        missed: 3,
        open: 1,
        reasons: vec![Reason { state: RoundState::Missed, reason: HOSTILE.to_owned(), rounds: 3 }],
        gaps: vec![
            Gap { after: None, until: Some(at(2)), missed: 1, void: 0 },
            Gap { after: Some(at(3)), until: Some(at(52)), missed: 2, void: 1 },
        ],
        unexplained: 0,
    };
    Summary {
        from: at(0),
        to: at(96),
        ticks: 5761,
        rounds: 10,
        predictions: 7,
        success: 7,
        failed: 0,
        timeout: 0,
        absent: 0,
        scored: 5,
        void: 1,
        missed: 3,
        open: 1,
        wall_s: 1.0,
        leaderboard: vec![place],
        coverage: vec![coverage],
    }
}

fn leaderboard(hour: u32, score: f64) -> Leaderboard {
    let window = WindowScore { score: Some(score), raw: None, predictions: 1, valid: 1, full: false };
    let entry = LeaderboardEntry {
        rank: None,
        group: RankingGroup::Provisional,
        model_id: ModelId::new(HOSTILE).unwrap(),
        first_scored_at: None,
        windows: PerWindow::from_fn(|_| window),
    };
    let (rule, excluded) = ("crps/1".to_owned(), BTreeSet::new());
    Leaderboard { as_of: at(hour), rule, rescoring: None, excluded, entries: vec![entry] }
}

#[test]
fn what_participants_chose_never_becomes_markup_and_nothing_outside_is_referred_to() {
    let page = page(&summary(), &[leaderboard(1, 0.5), leaderboard(2, 0.75)]);
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
    for outside in ["http", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_page_shows_scores_over_time_rounds_and_gaps() {
    let page = page(&summary(), &[leaderboard(1, 0.5), leaderboard(2, 0.75)]);
    let curve = page.split("<polyline").nth(1).unwrap().split("points=\"").nth(1).unwrap();
    assert_eq!(curve.split('"').next().unwrap().split(' ').count(), 2, "a point for each leaderboard");
    assert!(page.contains("<td>XAU</td><td>10</td><td>5</td><td>1</td><td>3</td><td>1</td>"));
    assert!(page.contains("4 of these 4 are explained by 2 gaps in its prices, the longest of 49.0 h"));
    assert_eq!(page.matches("class=\"gap\"").count(), 2);
}

#[test]
fn a_replay_in_which_nothing_was_scored_has_a_page() {
    assert!(page(&summary(), &[]).contains("nothing was scored"));
}
