//! A faithful fake Claude API for the demo, the tests and the benches.
