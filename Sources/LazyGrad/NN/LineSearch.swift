// How far to go in a direction. Knows nothing of tensors.

/// A place along a direction.
struct LineSearchPoint<Rest> {
  /// How far it is.
  var length: Double
  /// The loss there, and its slope along the direction.
  var loss: Double
  var slope: Double
  /// What else is known of the place.
  var rest: Rest
}

/// Finds a place where the strong conditions of Wolfe hold: the loss has become smaller by a part of what the slope
/// promises, and the slope is less steep (Nocedal and Wright, Numerical Optimization, 2006, algorithms 3.5
/// and 3.6). Where to look next is found by a cubic through two places; how near to their ends it may lie,
/// and how far beyond the last, are the numbers of Schmidt's minFunc (2005), which PyTorch has as well: so
/// that the same places are looked at.
///
/// - Parameters:
///   - start: Where the search begins, at length 0, on a downward slope.
///   - first: The length to try first.
///   - reach: How far the parameter that moves most is moved by a length of 1.
///   - tolerance: The search ends where places are closer together.
///   - look: What is at a length; nil ends the search, with nil.
/// - Returns: The best place, which is the start where none is better.
func strongWolfe<Rest>(
  from start: LineSearchPoint<Rest>, first: Double, reach: Double, tolerance: Double,
  _ look: (Double) -> LineSearchPoint<Rest>?
) -> LineSearchPoint<Rest>? {
  let (decrease, flattening, most) = (1e-4, 0.9, 25)
  /// Whether the loss is too great at a place: also where it is no number.
  func isTooHigh(_ point: LineSearchPoint<Rest>) -> Bool {
    !(point.loss <= start.loss + decrease * point.length * start.slope)
  }
  func isFlat(_ point: LineSearchPoint<Rest>) -> Bool {
    Swift.abs(point.slope) <= -flattening * start.slope
  }

  // 1. Further and further, until a minimum lies between the last two places.
  var last = start
  guard var point = look(first) else { return nil }
  var tries = 0
  var isBracketed = false
  while tries < most {
    if isTooHigh(point) || (tries > 1 && point.loss >= last.loss) {
      isBracketed = true
      break
    }
    if isFlat(point) { return point }
    if point.slope >= 0 {
      isBracketed = true
      break
    }
    let next = minimumOfCubic(
      last, point, from: point.length + 0.01 * (point.length - last.length),
      to: 10 * point.length)
    last = point
    guard let found = look(next) else { return nil }
    point = found
    tries += 1
  }

  // 2. Places between two, the better of which is kept.
  var (low, high) = isBracketed ? (last, point) : (start, point)
  if high.loss < low.loss { swap(&low, &high) }
  var wasNearEnd = false
  while tries < most, Swift.abs(high.length - low.length) * reach >= tolerance {
    let (least, greatest) = (min(low.length, high.length), max(low.length, high.length))
    var next = minimumOfCubic(low, high, from: least, to: greatest)
    // Twice in a row next to an end would be no progress.
    let margin = 0.1 * (greatest - least)
    if min(greatest - next, next - least) < margin {
      if wasNearEnd || next >= greatest || next <= least {
        next = greatest - next < next - least ? greatest - margin : least + margin
        wasNearEnd = false
      } else {
        wasNearEnd = true
      }
    } else {
      wasNearEnd = false
    }
    guard let found = look(next) else { return nil }
    tries += 1
    if isTooHigh(found) || found.loss >= low.loss {
      high = found
      if high.loss < low.loss { swap(&low, &high) }
    } else {
      if isFlat(found) { return found }
      if found.slope * (high.length - low.length) >= 0 { high = low }
      low = found
    }
  }
  return low
}

/// Where the cubic that has the losses and slopes of two places is smallest (Nocedal and Wright, formula 3.59), in the
/// bounds; the middle of these where there is no such place.
func minimumOfCubic<Rest>(
  _ a: LineSearchPoint<Rest>, _ b: LineSearchPoint<Rest>, from least: Double, to greatest: Double
) -> Double {
  let (left, right) = a.length <= b.length ? (a, b) : (b, a)
  let width = right.length - left.length
  let d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.length - right.length)
  let d2 = (d1 * d1 - left.slope * right.slope).squareRoot()
  let place =
    right.length - width * (right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2)
  if !place.isFinite { return (least + greatest) / 2 }
  return min(max(place, least), greatest)
}
