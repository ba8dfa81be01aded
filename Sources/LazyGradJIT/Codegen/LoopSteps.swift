// How many elements an iteration of a loop takes. Plain decisions from a phase's body; LoopNest emits
// what is decided here.

/// The bodies with which the elements of a phase are walked: several vectors at a time while there
/// are so many, single ones, and what is left masked.
struct LoopSteps {
  /// The body over several vectors and their number; nil where single ones are as good.
  let main: (body: LoopBody, count: Int)?
  let single: LoopBody
  let masked: LoopBody

  /// Operations of a body over several vectors at most: more hide no more latency.
  private static let longestBody = 400

  /// Whether several vectors per iteration are worth their code just to have fewer iterations.
  static func isCheap(_ body: LoopBody) -> Bool { body.nodes.count <= 16 }

  /// - Parameter reductions: those whose running lanes the bodies change. If several vectors go once
  ///   around these lanes, every one finds its own at the same place in every iteration.
  init(_ single: LoopBody, masked: LoopBody, _ reductions: [LoopReduction], lanes: Int) {
    self.single = single
    self.masked = masked
    let isCheap = Self.isCheap(single)
    let registers = single.target.vectorRegisters
    let around = reductions.map { LoopAddress.laneBytes / ($0.lane.size * lanes) }.max() ?? 1
    let least = isCheap && single.target.vectorRegisters < 32 ? 4 : 2
    let count = single.nodes.count * around > Self.longestBody ? least : max(least, around)
    if single.nodes.count * count > Self.longestBody {
      main = nil
      return
    }
    // Chains of dependent operations that are interleaved wait for each other's results; one behind
    // the other they would fill the processor's queues with operations that wait. That is worth
    // some values in the frame.
    let pair = single.unrolled(2, interleaved: 2, lanes: lanes)
    let needed = pair.registersNeeded
    if needed.vectors <= registers + registers / 2, needed.masks <= LoopEmitter.maskRegisters {
      main = (count == 2 ? pair : single.unrolled(count, interleaved: 2, lanes: lanes), count)
    } else if isCheap || around > 1 {
      main = (single.unrolled(count, interleaved: 1, lanes: lanes), count)
    } else {
      main = nil
    }
  }

  /// The body in which most of the time goes.
  var inner: LoopBody { main?.body ?? single }
}
