//! What real exchanges with the API show, and what metering makes of them.

#[cfg(test)]
mod estimate;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod prompt;
#[cfg(test)]
mod recorded;
