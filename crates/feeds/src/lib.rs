//! Where prices come from: recorded files and a simulated market
