// Memos of layouts: what is remembered is what was worked out, and keys that are asked for in turn are
// worked out once, whichever places they get.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct MemoTests {
  private struct Key: MemoKey {
    let layout: LayoutID
    let number: UInt64
    var hash: UInt64 { number }
  }

  /// Four keys of one hash, as many as a set has places.
  @Test(arguments: [0, 5, 63])
  func fourKeysOfASetAreWorkedOutOnce(_ hash: UInt64) {
    let memo = Memo<Key, Int>(size: 64)
    var workedOut = 0
    for _ in 0..<10 {
      for layout in 1...4 as ClosedRange<LayoutID> {
        let value = memo(Key(layout: layout, number: hash), places: 64) {
          workedOut += 1
          return Int(layout) * 10
        }
        #expect(value == Int(layout) * 10)
      }
    }
    #expect(workedOut == 4)
    memo.removeAll()
    #expect(memo.known(Key(layout: 1, number: hash), places: 64) == nil)
  }

  /// The fifth pushes out the oldest, and so does the next.
  @Test func theOldestGoesFirst() {
    let memo = Memo<Key, Int>(size: 64)
    for layout in 1...6 as ClosedRange<LayoutID> {
      memo.remember(Key(layout: layout, number: 8), Int(layout), places: 64)
    }
    let left = (1...6).filter { memo.known(Key(layout: $0, number: 8), places: 64) != nil }
    #expect(left == [3, 4, 5, 6])
  }

  @Test(arguments: [1, 2, 4, 8, 64])
  func whatIsRememberedIsRight(_ places: Int) {
    let memo = Memo<Key, Int>(size: 64)
    var random = SeededRandom(seed: UInt64(places))
    for _ in 0..<5000 {
      let (layout, number) = (random.int(0...9), random.int(0...9))
      let key = Key(layout: LayoutID(layout), number: UInt64(number))
      if let known = memo.known(key, places: places) { #expect(known == layout * 100 + number) }
      #expect(memo(key, places: places) { layout * 100 + number } == layout * 100 + number)
      #expect(memo.known(key, places: places) == layout * 100 + number)
      #expect(memo(Key(layout: 77, number: key.number), places: places) { nil } == nil)
    }
  }
}
