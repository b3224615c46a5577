SELECT B.auction, B.price, B.bidder, B.`dateTime`, B.extra
FROM bid AS B
JOIN (
  SELECT MAX(price) AS maxprice, window_end AS `dateTime`
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) AS Highest
ON B.price = Highest.maxprice
WHERE B.`dateTime` BETWEEN Highest.`dateTime` - INTERVAL '10' SECOND AND Highest.`dateTime`
