// The ranks of a program that runs in several processes. This file holds what a rank knows of itself; what ranks
// do together is in the extensions. Uses RankLink.

/// The processes that train together, as one of them sees them.
///
/// A launcher such as `mpirun` starts a program several times, on one machine or on many. Each of these
/// processes is a *rank*: it has the whole model, computes gradients by its own part of the data, and then all
/// take the mean of their gradients. They do that over the MPI library that goes with the launcher, which is
/// opened when the program runs. Without a launcher there is one rank, and nothing is opened.
///
///     try Communicator.run { world in
///       try world.broadcast(model)
///       let optimizer = Adam(model)
///       for epoch in 0..<epochs {
///         for rows in batches(of: world.shard(data.count, epoch: epoch)) {
///           let loss = model.loss(data[rows])
///           let gradients = gradients(of: loss, withRespectTo: model.parameters)
///           let means = try world.mean([loss] + gradients, weight: Double(rows.count))
///           optimizer.step(Array(means.dropFirst()))
///         }
///       }
///     }
///
/// Calls that say so are *collective*: all ranks have to make the same ones, in the same order. Before anything
/// is sent ranks compare what they want, and where that differs each throws an error that says who wanted what.
/// A collective computes what it is given: it is not recorded, and gradients don't flow through it.
///
/// A communicator belongs to one task at a time, and is of use until the closure of `run` has returned.
public final class Communicator {
  /// This process' number, from 0 to `size - 1`.
  public let rank: Int
  /// How many ranks there are.
  public let size: Int
  /// This process' number among those on its machine.
  public let localRank: Int
  /// How many ranks there are on this machine.
  public let localSize: Int
  /// The MPI library that carries what is sent; nil in a world of one.
  public let library: String?
  /// The way to the other ranks; nil in a world of one that nobody has launched.
  let link: RankLink?
  /// The last sums of tensors.
  var sums: [KnownSum] = []

  /// A world of one.
  init() {
    (rank, size, localRank, localSize) = (0, 1, 0, 1)
    (library, link) = (nil, nil)
  }

  init(_ link: RankLink, localRank: Int, localSize: Int) {
    (rank, size, self.link) = (link.rank, link.size, link)
    (self.localRank, self.localSize) = (localRank, localSize)
    library = link.library.version
  }

  /// Whether this is rank 0, which writes files and prints where one is to do it.
  public var isRoot: Bool { rank == 0 }

  /// What collectives have taken so far.
  public struct Statistics: Sendable, Equatable {
    /// How many there have been.
    public var collectives = 0
    /// Bytes that they were over: for a sum those of its numbers, once.
    public var bytes = 0
    /// Seconds that went by until ranks had agreed: in which this rank has told the others what it wants and has
    /// waited for them, and for the numbers of a small sum of the same tensors as the last one.
    public var waitingSeconds = 0.0
    /// Seconds that data was being sent then.
    public var transferSeconds = 0.0
  }

  /// What collectives have taken so far; zeros in a world of one.
  public var statistics: Statistics { link?.statistics ?? Statistics() }

  // MARK: Parts of the data

  /// This rank's rows of a data set: its part of a random order that is the same on all ranks.
  ///
  /// The parts differ by one row at most, and each row is in one of them. Not collective.
  ///
  /// - Parameters:
  ///   - rows: How many there are.
  ///   - epoch: Which order: each pass over the data should have one of its own.
  ///   - seed: Which sequence of orders.
  /// - Returns: Numbers from 0 to `rows - 1`.
  public func shard(_ rows: Int, epoch: Int = 0, seed: UInt64 = 0) -> [Int] {
    let key = RandomKey(seed).folded(in: UInt64(bitPattern: Int64(epoch)))
    let order = Tensor.permutation(rows, key: key).elements(as: Int.self)
    return Array(order[part(of: order.count)])
  }

  /// This rank's part of numbers from 0 to `count - 1`, in their order: those of a joint batch, say.
  ///
  /// The parts differ in length by one at most. Not collective.
  public func part(of count: Int) -> Range<Int> { Self.part(rank, of: count, among: size) }

  /// The part of one rank.
  package static func part(_ rank: Int, of count: Int, among size: Int) -> Range<Int> {
    let (least, more) = (count / size, count % size)
    let start = rank * least + min(rank, more)
    return start..<start + least + (rank < more ? 1 : 0)
  }
}
