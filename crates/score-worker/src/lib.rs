//! Scores, windows, snapshots and the leaderboard
