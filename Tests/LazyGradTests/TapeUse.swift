// What the calling thread's tape holds, for tests of flat memory.

import LazyGradJIT

/// Live records and held handles of the calling thread's tape.
func tapeUse() -> (live: Int, held: Int) {
  let use = Engine.tapeUse
  return (use.live, use.held)
}
